// Messages that are typed, pasted or read from a file: their classes, probabilities and words.

const EXPLAINED_LINES = 4 * about.explained, SHOWN = 100, MOST_BARS = 5;
const work = { results: [], threshold: null, explained: false, model: "", shown: SHOWN, file: null, stopped: false };

section({
  en: { try: "Try a message", label: "Messages, one a line", go: "Classify", stop: "Stop", choose: "Choose a file", hint: "Ctrl + Enter · or drop a CSV or text file here",
        examples: "Examples:", show: "Show", sort: "Sort", search: "Find text", all: "all", given: "as given", highest: "highest first", lowest: "lowest first",
        working: (n, all) => all > 1 ? `Working… ${n} of ${all}` : "Working…", busy: s => `The server is busy; trying again in ${s} s…`, unreachable: "The server cannot be reached.",
        done: (n, model) => `${n} classified · model ${model}`, stoppedAt: (n, all) => `Stopped: ${n} of ${all} classified.`,
        tally: (n, all, label) => `${n} of ${all} ${label}`, failed: n => `${n} could not be read`, more: n => `Show ${n} more`, none: "None fits the filter.",
        weight: "weight", tooLong: most => `This message is longer than ${most.toLocaleString()} characters.`,
        legend: "Red words raised the probability, blue ones lowered it. The mark on the bar is the threshold.", legendMore: "Red words raised the probability of the class named, blue ones lowered it.",
        onlyFirst: (n, all) => `Words are explained for the first ${n} of ${all} lines.`, unexplained: "Words past the length that the model reads have no colour.",
        yetNot: (label, threshold) => `No word speaks against “${label}”, yet together they do not reach the threshold of ${threshold}.`,
        yetSo: (label, threshold) => `No single word speaks for “${label}”, yet the message as a whole is above the threshold of ${threshold}.`,
        read: (name, n) => `${name}: ${n.toLocaleString()} messages`, column: "column", remove: "Remove", cut: most => ` (the first ${most.toLocaleString()} are read)`,
        empty: name => `${name}: there is no message in this file.`, unfit: kind => `This server's model does ${kind}; this page tries classifiers. /docs shows how to ask it.`,
        samples: ["Forest fire near La Ronge Sask.", "this mixtape is fire", "Bridge collapsed after the flood, rescue teams on site", "my inbox exploded over lunch"] },
  ko: { try: "메시지 시험해 보기", label: "메시지 (한 줄에 하나)", go: "판별하기", stop: "멈추기", choose: "파일 고르기", hint: "Ctrl + Enter · CSV나 텍스트 파일을 끌어다 놓아도 됩니다",
        examples: "예시:", show: "보기", sort: "정렬", search: "본문에서 찾기", all: "전체", given: "입력한 순서", highest: "확률 높은 순", lowest: "확률 낮은 순",
        working: (n, all) => all > 1 ? `판별하는 중… ${all}건 가운데 ${n}건` : "판별하는 중…", busy: s => `서버가 바쁩니다. ${s}초 뒤에 다시 시도합니다…`, unreachable: "서버에 연결할 수 없습니다.",
        done: (n, model) => `${n}건 판별 · 모델 ${model}`, stoppedAt: (n, all) => `멈췄습니다. ${all}건 가운데 ${n}건을 판별했습니다.`,
        tally: (n, all, label) => `${all}건 가운데 ${label} ${n}건`, failed: n => `읽지 못한 메시지 ${n}건`, more: n => `${n}건 더 보기`, none: "조건에 맞는 메시지가 없습니다.",
        weight: "가중치", tooLong: most => `${most.toLocaleString()}자보다 긴 메시지입니다.`,
        legend: "붉은 단어는 확률을 높였고 푸른 단어는 낮췄습니다. 막대의 눈금은 기준값입니다.", legendMore: "붉은 단어는 답한 분류의 확률을 높였고 푸른 단어는 낮췄습니다.",
        onlyFirst: (n, all) => `단어별 설명은 ${all}줄 가운데 처음 ${n}줄까지만 보여 줍니다.`, unexplained: "모델이 읽는 길이를 넘는 단어에는 색이 없습니다.",
        yetNot: (label, threshold) => `‘${label}’에 반하는 단어는 없지만, 모두 합쳐도 기준값 ${threshold}에 미치지 못합니다.`,
        yetSo: (label, threshold) => `‘${label}’ 쪽인 단어는 하나도 없지만, 메시지 전체로는 기준값 ${threshold}을 넘습니다.`,
        read: (name, n) => `${name}: 메시지 ${n.toLocaleString()}건`, column: "열", remove: "빼기", cut: most => ` (처음 ${most.toLocaleString()}건만 읽습니다)`,
        empty: name => `${name}: 파일에 메시지가 없습니다.`, unfit: kind => `이 서버의 모델은 ${kind}용입니다. 이 화면은 분류 모델만 시험합니다. 사용법은 /docs에 있습니다.`,
        samples: ["규모 5.1 지진으로 건물 외벽이 무너졌습니다", "오늘 신상 세일 폭탄 터졌다", "폭우로 지하차도가 잠겨 차량이 고립됐습니다", "시험 망해서 멘탈 붕괴"] },
  start() {
    $("form").addEventListener("submit", submitted);
    $("text").addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submitted(event); });
    $("stop").addEventListener("click", () => { work.stopped = true; });
    $("upload").addEventListener("change", event => { const [file] = event.target.files; event.target.value = ""; if (file) take(file); });
    for (const name of ["class", "order", "search"]) $(name).addEventListener("input", () => { work.shown = SHOWN; drawResults(); });
    $("more").addEventListener("click", () => { work.shown += SHOWN; drawResults(); });
    $("results-csv").addEventListener("click", () => save("results.csv", csv(resultRows()), "text/csv"));
    document.addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("dropping"); });
    document.addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
    document.addEventListener("drop", event => {
      event.preventDefault();
      document.body.classList.remove("dropping");
      const [file] = event.dataTransfer.files;
      if (file) take(file);
    });
    $("try").open = !about.watches;
    $("try").classList.toggle("always", !about.watches);
    if (!about.watches && !about.labels && matchMedia("(pointer: fine)").matches) $("text").focus();
  },
  draw() {
    $("text").placeholder = say("samples").slice(0, 2).join("\n");
    $("examples").replaceChildren($("examples").firstElementChild, ...say("samples").map(text => button(text, () => { forgetFile(); $("text").value = text; submitted(); })));
    if (about.kind !== "classification") { $("status").textContent = say("unfit", about.kind); $("go").disabled = true; }
    options("class", [["", say("all")], ...classes().map(label => [label, named(label)])]);
    options("order", [["given", say("given")], ["highest", say("highest")], ["lowest", say("lowest")]]);
    drawFile();
    drawResults();
  },
});

function options(id, pairs) {
  const before = $(id).value;
  $(id).replaceChildren(...pairs.map(([value, text]) => { const made = element("option", "", text); made.value = value; return made; }));
  if (pairs.some(([value]) => value === before)) $(id).value = before;
}

function classes() {
  const answered = work.results.find(({ result }) => !result.error);
  return answered ? Object.keys(answered.result.probabilities) : about.classes;
}

// Files

async function take(file) {
  const table = tableOf(file.name, decoded(await file.arrayBuffer()));
  $("try").open = true;
  if (!table.rows.length) { $("status").className = "bad"; $("status").textContent = say("empty", file.name); return; }
  work.file = { ...table, name: file.name, rows: table.rows.slice(0, MOST_ROWS), cut: table.rows.length > MOST_ROWS };
  $("status").textContent = "";
  drawFile();
}

function forgetFile() {
  work.file = null;
  drawFile();
}

function drawFile() {
  const { file } = work;
  $("file").hidden = file === null;
  $("text").hidden = file !== null;
  if (file === null) return;
  const parts = [element("strong", "", say("read", file.name, file.rows.length) + (file.cut ? say("cut", MOST_ROWS) : ""))];
  if (file.columns.length > 1) {
    const label = element("label", "", ` ${say("column")} `), select = element("select");
    select.append(...file.columns.map((name, number) => { const made = element("option", "", name || String(number + 1)); made.value = number; return made; }));
    select.value = file.column;
    select.addEventListener("input", () => { file.column = Number(select.value); });
    label.append(select);
    parts.push(label);
  }
  $("file").replaceChildren(...parts.flatMap(part => [part, " "]), button(say("remove"), forgetFile));
}

function messages() {
  const texts = work.file ? work.file.rows.map(row => row[work.file.column] ?? "") : $("text").value.split("\n");
  return texts.map(text => text.trim()).filter(Boolean);
}

// Asking

async function ask(texts, explain) {
  for (;;) {
    const response = await fetch("v1/classify", { method: "POST", headers: headers(), body: JSON.stringify({ text: texts, explain }) });
    if (response.status === 429 || response.status === 503) {
      const seconds = Number(response.headers.get("Retry-After") ?? 1);
      $("status").textContent = say("busy", seconds);
      await new Promise(wake => setTimeout(wake, 1000 * seconds));
      continue;
    }
    const answer = await response.json();
    if (response.ok) return answer;
    if (response.status === 401) askForKey();
    throw new Error(answer.error);
  }
}

// Requests of as many messages as the server takes; a message that is too long goes into none.
function* parts(texts) {
  const explained = Math.min(texts.length, EXPLAINED_LINES);
  let part = [], bytes = 0;
  for (const [number, text] of texts.entries()) {
    const explain = number < explained, size = 2 * new Blob([text]).size + 8;
    const full = part.length === (explain ? about.explained : about.items) || bytes + size > about.bytes - 1000;
    if (part.length && (full || number === explained)) { yield { part, explain: number <= explained }; part = []; bytes = 0; }
    part.push(text);
    bytes += size;
  }
  if (part.length) yield { part, explain: texts.length <= explained };
}

async function submitted(event) {
  event?.preventDefault();
  const texts = messages();
  if (!texts.length || $("go").disabled) return;
  Object.assign(work, { results: [], explained: true, stopped: false, shown: SHOWN });
  $("class").value = $("search").value = "";
  $("go").disabled = true;
  $("stop").hidden = texts.length <= about.items;
  $("status").className = "note";
  $("status").textContent = say("working", 0, texts.length);
  drawResults();
  try {
    for (const { part, explain } of parts(texts)) {
      if (work.stopped) break;
      const long = text => text.length > about.characters, sent = part.filter(text => !long(text));
      const answer = sent.length ? await ask(sent, explain) : { results: [], model: work.model, threshold: work.threshold };
      const results = [...answer.results];
      for (const text of part) {
        const result = long(text) ? { error: say("tooLong", about.characters) } : results.shift();
        work.results.push({ number: work.results.length + 1, text, result });
      }
      Object.assign(work, { threshold: answer.threshold, model: answer.model });
      $("status").textContent = say("working", work.results.length, texts.length);
      drawResults();
    }
    $("status").textContent = work.stopped ? say("stoppedAt", work.results.length, texts.length) : say("done", work.results.length, work.model);
    $("locked").hidden = true;
  } catch (error) {
    $("status").className = "bad";
    $("status").textContent = error instanceof TypeError ? say("unreachable") : error.message;
  } finally {
    $("go").disabled = false;
    $("stop").hidden = true;
    options("class", [["", say("all")], ...classes().map(label => [label, named(label)])]);
    drawResults();
  }
}

// Results

function matching() {
  const label = $("class").value, words = $("search").value.toLowerCase(), order = $("order").value;
  const found = work.results.filter(({ text, result }) => (!label || result.label === label) && (!words || text.toLowerCase().includes(words)));
  const sign = { highest: -1, lowest: 1 }[order];
  return sign ? found.sort((a, b) => sign * ((a.result.probability ?? -sign) - (b.result.probability ?? -sign)) || a.number - b.number) : found;
}

function counted() {
  const all = work.results.length, failed = work.results.filter(({ result }) => result.error).length;
  const labels = work.threshold === null ? classes() : classes().slice(-1);
  const parts = labels.map(label => say("tally", work.results.filter(({ result }) => result.label === label).length, all, named(label)));
  return [...parts, ...(failed ? [say("failed", failed)] : [])].join(" · ");
}

function legend() {
  const explained = work.results.filter(({ result }) => result.explanation).length;
  const parts = explained ? [work.threshold === null ? say("legendMore") : say("legend")] : [];
  if (explained && work.results.length > EXPLAINED_LINES) parts.push(say("onlyFirst", EXPLAINED_LINES, work.results.length));
  return parts.join(" ");
}

function drawResults() {
  $("found").hidden = work.results.length === 0;
  if (!work.results.length) { $("results").replaceChildren(); return; }
  const found = matching();
  $("count").textContent = counted();
  $("legend").textContent = legend();
  $("tools").hidden = work.results.length < 2;
  $("results").replaceChildren(...(found.length ? found.slice(0, work.shown).map(verdict) : [element("li", "note", say("none"))]));
  $("more").hidden = found.length <= work.shown;
  $("more").textContent = say("more", Math.min(SHOWN, found.length - work.shown));
}

function bar(share, threshold = null) {
  const made = element("div", "bar"), fill = element("i");
  fill.style.width = `${100 * share}%`;
  made.append(fill);
  if (threshold !== null) { const mark = element("b"); mark.style.left = `${100 * threshold}%`; made.append(mark); }
  return made;
}

// One result. Texts and words are set as text, never as HTML.
function verdict({ text, result }) {
  const item = element("li");
  if (result.error) {
    item.append(element("div", "bad", result.error), element("div", "", text.length > 500 ? `${text.slice(0, 500)}…` : text));
    return item;
  }
  item.style.setProperty("--tone", toneOf(result.label));
  const line = element("div", "verdict");
  line.append(element("span", "", named(result.label)), element("span", "", percent(result.probability)));
  item.append(line, work.threshold === null ? bars(result.probabilities) : bar(result.probability, work.threshold));
  item.append(result.explanation ? explained(result.explanation) : element("div", "", plain(text)));
  const sentence = result.explanation ? surprising(result) : "";
  if (sentence) item.append(element("div", "note", sentence));
  return item;
}

// The likeliest classes of three and more.
function bars(probabilities) {
  const box = element("div", "classes");
  for (const [label, share] of Object.entries(probabilities).sort((a, b) => b[1] - a[1]).slice(0, MOST_BARS)) {
    const line = bar(share);
    line.style.setProperty("--tone", toneOf(label));
    box.append(element("span", "", named(label)), line, element("span", "", percent(share)));
  }
  return box;
}

// Words that raised the probability are tinted, those that lowered it too, in the other colour; the title says how much.
function explained(explanation) {
  const strongest = Math.max(0.01, ...explanation.map(each => Math.abs(each.weight)));
  const box = element("div");
  for (const { word, weight } of explanation) {
    const mark = element("mark", "", plain(word)), share = Math.round(60 * Math.abs(weight) / strongest);
    if (share >= 6) mark.style.background = `color-mix(in srgb, var(${weight > 0 ? "--fire" : "--calm"}) ${share}%, transparent)`;
    mark.title = `${say("weight")} ${weight >= 0 ? "+" : ""}${weight.toFixed(3)}`;
    box.append(mark, " ");
  }
  return box;
}

// What a reader would ask: all words are red and yet it is no disaster, or the other way about.
function surprising(result) {
  if (work.threshold === null) return "";
  const weights = result.explanation.map(each => each.weight), positive = named(classes().at(-1));
  const strongest = Math.max(...weights.map(Math.abs)), speaks = sign => weights.some(weight => sign * weight > 0.1 * strongest && strongest > 0);
  if (result.probability < work.threshold && speaks(1) && !speaks(-1)) return say("yetNot", positive, percent(work.threshold));
  if (result.probability >= work.threshold && speaks(-1) && !speaks(1)) return say("yetSo", positive, percent(work.threshold));
  return "";
}

function resultRows() {
  const labels = classes();
  const rows = matching().map(({ number, text, result }) =>
    [number, text, result.label ?? "", ...labels.map(label => result.probabilities?.[label]?.toFixed(6) ?? ""), result.error ?? ""]);
  return [["line", "text", "label", ...labels.map(label => `p(${label})`), "error"], ...rows];
}
