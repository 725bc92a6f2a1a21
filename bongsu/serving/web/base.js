// What all sections of the page share: words in two languages, times, requests, copying and saving.

const $ = id => document.getElementById(id);
const about = JSON.parse(document.body.dataset.about);
const words = { en: {}, ko: {} };
const sections = [];
let language = navigator.language.startsWith("ko") ? "ko" : "en";

// Register a section: its words, whose names no other section has; `start` is called once, `draw` when the language or the time changes.
function section({ en, ko, start = () => {}, draw = () => {} }) {
  for (const name of Object.keys(en)) if (name in words.en) throw new Error(`two sections say ${name}`);
  Object.assign(words.en, en);
  Object.assign(words.ko, ko);
  sections.push({ start, draw });
}

section({
  en: { switched: "한국어", key: "API key", unlock: "Use it", csv: "Download CSV", json: "Download JSON", copy: "Copy", copied: "Copied",
        now: "just now", minutes: n => `${n} min ago`, hours: n => `${n} h ago`, names: { disaster: "disaster", other: "other" },
        claim: classes => classes.includes("disaster") ? "Messages about real disasters, told from the rest" : classes.length ? `Sorts messages: ${classes.join(", ")}` : "",
        watched: alarm => `Live watch: ${alarm ?? "alerts"}`,
        demonstration: "This model was trained on a small demonstration set. It shows how everything works; do not rely on its answers." },
  ko: { switched: "English", key: "API 키", unlock: "확인", csv: "CSV 내려받기", json: "JSON 내려받기", copy: "복사", copied: "복사했습니다",
        now: "방금", minutes: n => `${n}분 전`, hours: n => `${n}시간 전`, names: { disaster: "재난", other: "재난 아님" },
        claim: classes => classes.includes("재난") ? "진짜 재난을 알리는 메시지를 가려냅니다" : classes.length ? `메시지를 분류합니다: ${classes.join(", ")}` : "",
        watched: alarm => `실시간 감시: ${alarm ?? "경보"}`,
        demonstration: "작은 시연용 자료로 학습한 모델입니다. 동작을 보여 주기 위한 것이니 결과를 믿고 쓰지 마십시오." },
  draw() {
    const classes = about.classes.map(named);
    $("claim").textContent = about.watches ? say("watched", about.alarm && named(about.alarm)) : say("claim", classes);
    $("language").textContent = say("switched");
    $("demonstration").hidden = !about.demonstration;
  },
});

// A phrase in the reader's language.
function say(name, ...values) {
  const phrase = words[language][name];
  return typeof phrase === "function" ? phrase(...values) : phrase;
}

// A class as a reader calls it.
function named(label) {
  return words[language].names[label] ?? label;
}

// The colour of a class: of two the one that alarms is red; more have a colour each.
function toneOf(label) {
  if (about.alarm !== null || about.classes.length < 3) return label === about.alarm ? "var(--fire)" : "var(--calm)";
  return `var(--class-${about.classes.indexOf(label) % 8})`;
}

function draw() {
  document.documentElement.lang = language;
  for (const part of document.querySelectorAll("[data-say]")) part.textContent = say(part.dataset.say);
  for (const part of document.querySelectorAll("[data-hint]")) part.placeholder = part.ariaLabel = say(part.dataset.hint);
  for (const { draw } of sections) draw();
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function button(text, act, className = "small") {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// Show items in a list; what has not changed keeps its element, and with it the reader's selection and place.
function render(list, items, make) {
  const before = new Map([...list.children].map(child => [child.dataset.key, child]));
  list.replaceChildren(...items.map(item => {
    const key = language + item.key, known = before.get(key), child = known ?? make(item.value);
    child.dataset.key = key;
    return child;
  }));
}

function percent(share) {
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

// A moment in the reader's own time zone; the day is named when it is not today.
function clock(iso) {
  if (!iso) return "";
  const moment = new Date(iso), time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const today = moment.toDateString() === new Date().toDateString();
  const day = new Intl.DateTimeFormat(language === "ko" ? "ko" : "en-GB", { year: "numeric", month: "short", day: "numeric" });
  const shown = new Intl.DateTimeFormat("en-GB", time).format(moment);
  return today ? shown : `${day.format(moment)} ${shown}`;
}

// How long ago, in words; nothing for what is days old, such as a replay.
function ago(iso) {
  const minutes = Math.floor((Date.now() - new Date(iso)) / 60000);
  return !iso || minutes >= 2880 ? "" : minutes < 1 ? say("now") : minutes < 120 ? say("minutes", minutes) : say("hours", Math.floor(minutes / 60));
}

function clockAgo(iso) {
  const past = ago(iso);
  return past ? `${clock(iso)} (${past})` : clock(iso);
}

// A link to a post; only to the web, and the other page learns nothing of this one.
function link(url, text) {
  if (!/^https?:\/\//i.test(url ?? "")) return "";
  const made = element("a", "", text);
  made.href = url;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function headers() {
  const key = $("key").value;
  return key ? { "Content-Type": "application/json", Authorization: `Bearer ${key}` } : { "Content-Type": "application/json" };
}

function askForKey() {
  if (!$("locked").hidden) return;
  $("locked").hidden = false;
  $("key").focus();
}

async function copyText(text, pressed) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed without HTTPS
    const area = element("textarea", "", "");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  pressed.textContent = say("copied");
  setTimeout(() => { pressed.textContent = say("copy"); }, 2000);
}

function save(name, content, type) {
  const made = document.createElement("a");
  made.href = URL.createObjectURL(new Blob([content], { type }));
  made.download = name;
  made.click();
  setTimeout(() => URL.revokeObjectURL(made.href), 10000);
}

// CSV that spreadsheets open as UTF-8 and in which they run no formula.
function csv(rows) {
  const cell = value => {
    const text = String(value ?? ""), number = text !== "" && Number.isFinite(Number(text));
    const safe = !number && /^('*\s*[=+@＝＋－＠-]|'*[\t\r\n])/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return "\ufeff" + rows.map(row => row.map(cell).join(",") + "\r\n").join("");
}

document.addEventListener("DOMContentLoaded", () => {
  $("language").addEventListener("click", () => { language = language === "ko" ? "en" : "ko"; draw(); });
  $("locked").addEventListener("submit", event => { event.preventDefault(); document.dispatchEvent(new Event("unlocked")); });
  for (const { start } of sections) start();
  draw();
});
