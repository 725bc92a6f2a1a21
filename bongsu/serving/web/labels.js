// Labels during an event: a queue with one key for each answer, and how far to trust the detector.

const TRUST_EVERY = 15, AHEAD = 5; // seconds; messages fetched at a time
const keysOf = { yes: ["d", "1", "ㅇ"], no: ["n", "0", "ㅜ"], skip: ["s", "ㄴ"], undo: ["u", "ㅕ"] };
const labelling = { waiting: [], classes: ["", ""], status: null, busy: false, note: "", news: null }; // news: the version learned last

section({
  en: { toLabel: "Label messages", by: "Your name", nothingWaits: "No message waits for a label. Messages of the stream come here by themselves.",
        yes: name => `${name} (D)`, no: "Not (N)", skip: "Skip (S)", undo: "Undo (U)", learn: "Learn now",
        missing: n => n === 1 ? "It learns after one more label." : `It learns after ${n} more labels.`, cannot: "This bundle carries nothing to learn with; labels are kept. Export the run again.",
        learning: "Learning…", learned: v => `Version ${v.number}, from ${v.labels} labels, ${v.verdict.taken ? "is in use" : "is not used"}: ${say("why", v.verdict)}`,
        why: v => v.why === "few" ? `not judged yet, ${v.judged} random labels came after the version before it`
          : `${v.why === "not_worse" ? "not worse" : "worse"} than ${v.why === "worse_than_used" ? "the version in use" : "the exported one"} on ${v.judged} random labels (log loss ${signed(v.difference)})`,
        gone: "This message does not wait for a label any more: somebody labelled it, or it is too old.", foreign: "This page may not label here: it is of another site.",
        setback: s => `The version in use answers worse than the one that was exported (${s.labels} random labels, log loss ${signed(s.difference)}). What to do: go back to it under Versions.`,
        guide: "Label what the message says, not what the detector might think. Half of these it doubts, half are drawn at random.",
        trust: "How far to trust it", right: s => `Since ${s.since}: ${s.part} of ${s.whole} right (${s.low} to ${s.high})`,
        noneYet: "No message drawn at random has a label yet.", passed: s => `Of what passed, ${s.part} of ${s.whole} was right`,
        found: s => `of what should pass, ${s.part} of ${s.whole} did`,
        promised: e => `Before any label: expect ${e.value} right, give or take ${e.error} (${e.measured ? "measured on this detector's own events" : "measured on other detectors' events"}).`,
        strange: share => `${share} of the latest messages are unlike anything it was trained on.`, nearest: name => `The nearest event it knows is ${name}.`,
        versions: "Versions", bringBack: "Use this one", inUse: "in use",
        exported: "as exported", version: v => `${v.number}: ${v.labels} labels`, saved: "Labels as CSV" },
  ko: { toLabel: "메시지 라벨링", by: "이름", nothingWaits: "라벨을 기다리는 메시지가 없습니다. 새 메시지가 들어오면 여기에 나타납니다.",
        yes: name => `${name} (D)`, no: "아님 (N)", skip: "건너뛰기 (S)", undo: "되돌리기 (U)", learn: "지금 학습",
        missing: n => `라벨 ${n}개를 더 달면 학습합니다.`, cannot: "이 번들에는 학습에 필요한 자료가 없어 라벨만 저장합니다. 실행 결과를 다시 내보내십시오.",
        learning: "학습하는 중…", learned: v => `라벨 ${v.labels}개로 학습한 버전 ${v.number}: ${v.verdict.taken ? "사용 중" : "사용하지 않음"} (${say("why", v.verdict)})`,
        why: v => v.why === "few" ? `아직 평가 전, 직전 버전 이후의 무작위 라벨 ${v.judged}개`
          : `무작위 라벨 ${v.judged}개 기준 ${v.why === "worse_than_used" ? "사용 중인 버전" : "내보낸 그대로의 버전"}보다 ${v.why === "not_worse" ? "나쁘지 않음" : "나쁨"}, 로그 손실 ${signed(v.difference)}`,
        gone: "이 메시지는 더 이상 라벨을 기다리지 않습니다. 다른 사람이 라벨을 달았거나 오래된 메시지입니다.", foreign: "다른 사이트의 페이지에서는 라벨을 달 수 없습니다.",
        setback: s => `사용 중인 버전이 내보낸 그대로의 버전보다 나쁩니다 (무작위 라벨 ${s.labels}개 기준, 로그 손실 ${signed(s.difference)}). 권장 조치: 아래 '버전'에서 되돌리십시오.`,
        guide: "탐지기의 판단을 짐작하지 말고 메시지 내용만 보고 라벨을 다십시오. 절반은 탐지기가 헷갈려 하는 메시지, 절반은 무작위로 뽑은 메시지입니다.",
        trust: "얼마나 믿을 수 있나", right: s => `${s.since}부터 ${s.whole}건 중 ${s.part}건 정답 (${s.low}~${s.high})`,
        noneYet: "무작위로 뽑은 메시지에 아직 라벨이 없습니다.", passed: s => `통과한 ${s.whole}건 중 ${s.part}건이 맞고`,
        found: s => `통과해야 할 ${s.whole}건 중 ${s.part}건이 통과했습니다`,
        promised: e => `라벨 없이 예상하는 정확도는 ${e.value}, 오차는 ±${e.error}입니다 (${e.measured ? "이 탐지기의 다른 사건에서 측정" : "다른 탐지기의 사건에서 측정"}).`,
        strange: share => `최근 메시지의 ${share}는 학습 자료와 전혀 다릅니다.`, nearest: name => `알고 있는 사건 가운데 가장 가까운 것은 ${name}입니다.`,
        versions: "버전", bringBack: "이 버전 사용", inUse: "사용 중",
        exported: "내보낸 그대로", version: v => `${v.number}: 라벨 ${v.labels}개`, saved: "라벨 CSV" },
  start() {
    if (!about.labels) return;
    $("labels").hidden = false;
    $("by").value = localStorage.getItem("bongsu-by") ?? "";
    $("by").addEventListener("change", () => localStorage.setItem("bongsu-by", $("by").value));
    for (const answer of ["yes", "no", "skip", "undo"]) $(`label-${answer}`).addEventListener("click", () => give(answer));
    $("learn").addEventListener("click", learnNow);
    $("labels-csv").addEventListener("click", saveLabels);
    document.addEventListener("keydown", pressed);
    document.addEventListener("unlocked", () => { fetchQueue(); fetchTrust(); });
    document.addEventListener("learned", event => { labelling.news = event.detail; labelling.note = ""; fetchTrust(); });
    setInterval(() => { if (!document.hidden) { fetchTrust(); if (labelling.waiting.length === 0) fetchQueue(); } }, 1000 * TRUST_EVERY);
    fetchQueue();
    fetchTrust();
  },
  draw() {
    if (!about.labels) return;
    drawLabelling();
    drawTrust();
  },
});

// Keys answer while nothing is being typed; with a Korean keyboard on, the same keys do.
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const letter = event.code?.startsWith("Key") ? event.code.slice(3).toLowerCase() : event.key.toLowerCase();
  const answer = Object.keys(keysOf).find(name => keysOf[name].includes(letter) || keysOf[name].includes(event.key));
  if (answer === undefined) return;
  event.preventDefault();
  give(answer);
}

async function askDesk(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`v1/labels${path}`, { headers: headers(), ...options });
  if (response.status === 401) askForKey();
  const answer = await response.json();
  if (!response.ok) throw new Error({ 403: say("foreign"), 409: path === "" ? say("gone") : null }[response.status] ?? answer.error);
  return answer;
}

async function fetchQueue() {
  try {
    const found = await askDesk(`/queue?count=${AHEAD}`);
    Object.assign(labelling, { waiting: found.waiting, classes: found.classes });
  } catch (error) { labelling.note = error.message; }
  drawLabelling();
}

async function fetchTrust() {
  try { labelling.status = await askDesk("/status"); } catch { return; } // the state of the watch says that the server is away
  drawTrust();
  drawLabelling();
}

async function give(answer) {
  const message = labelling.waiting[0];
  if (labelling.busy || (answer !== "undo" && !message)) return;
  labelling.busy = true;
  const by = $("by").value.trim();
  try {
    const label = { yes: 1, no: 0, skip: null }[answer];
    const kept = answer === "undo" ? await askDesk("/undo", { by }) : await askDesk("", { source: message.source, id: message.id, label, by });
    labelling.status = kept.status;
    Object.assign(labelling, { note: "", news: null });
    if (answer !== "undo") labelling.waiting.shift();
  } catch (error) { labelling.note = error.message; }
  labelling.busy = false;
  drawLabelling();
  drawTrust();
  await fetchQueue();
  if (labelling.status?.missing === 0) setTimeout(fetchTrust, 3000); // it has learned by then
}

async function learnNow() {
  labelling.note = say("learning");
  drawLabelling();
  try { Object.assign(labelling, { news: await askDesk("/learn", {}), note: "" }); } catch (error) { labelling.note = error.message; }
  drawLabelling();
  fetchTrust();
}

async function bringBack(version) {
  try { await askDesk("/use", { version, by: $("by").value.trim() }); } catch (error) { labelling.note = error.message; }
  fetchTrust();
}

async function saveLabels() {
  const response = await fetch("v1/labels/export", { headers: headers() });
  if (response.ok) save("labels.csv", await response.text(), "text/csv");
}

function drawLabelling() {
  const [message] = labelling.waiting, { status } = labelling;
  $("to-label").textContent = message ? message.text : say("nothingWaits");
  $("to-label").className = message ? "" : "note";
  for (const answer of ["yes", "no", "skip"]) $(`label-${answer}`).disabled = !message;
  $("label-yes").textContent = say("yes", named(labelling.classes[1]));
  $("label-no").textContent = say("no");
  $("label-skip").textContent = say("skip");
  $("label-undo").textContent = say("undo");
  const next = !status ? "" : status.missing === null ? say("cannot") : status.missing > 0 ? say("missing", status.missing) : say("learning");
  $("label-note").textContent = labelling.note || (labelling.news ? say("learned", labelling.news) : next);
  $("learn").disabled = !status || status.missing === null || status.labels === 0;
}

function drawTrust() {
  const { status } = labelling;
  if (!status) return;
  const { accuracy, precision, recall, expected, likeness, setback, used } = status;
  const two = share => share.toFixed(2), moment = seconds => clock(new Date(1000 * seconds).toISOString());
  $("right").textContent = accuracy.whole === 0 ? say("noneYet")
    : say("right", { ...accuracy, since: moment(status.since), low: two(accuracy.interval[0]), high: two(accuracy.interval[1]) });
  const notes = [];
  if (precision.whole || recall.whole) notes.push(`${say("passed", precision)}, ${say("found", recall)}.`);
  if (expected) notes.push(say("promised", { ...expected, value: percent(expected.accuracy), error: percent(expected.error) }));
  if (likeness) notes.push(say("strange", percent(likeness.strange)) + (likeness.nearest ? ` ${say("nearest", likeness.nearest)}` : ""));
  $("trust-notes").replaceChildren(...notes.map(text => element("p", "note", text)));
  $("setback").hidden = setback === null;
  $("setback").textContent = setback ? say("setback", setback) : "";
  drawSteps(status.steps);
  const known = [{ number: 0 }, ...status.versions].map(each => ({ ...each, inUse: each.number === used })).reverse();
  render($("versions"), known.map(each => ({ key: JSON.stringify(each), value: each })), versionRow);
}

function versionRow(version) {
  const item = element("li"), name = version.number === 0 ? say("exported") : say("version", version);
  item.append(element("span", "", version.verdict ? `${name}, ${say("why", version.verdict)}` : name));
  item.append(version.inUse ? element("b", "", say("inUse")) : button(say("bringBack"), () => bringBack(version.number)));
  return item;
}

function signed(number) {
  return (number < 0 ? "\u2212" : "+") + Math.abs(number).toFixed(3);
}

// The accuracy over time with its 95 % interval (Wilson), as a line in a band.
function drawSteps(steps) {
  const svg = $("steps"), z = 1.96;
  svg.toggleAttribute("hidden", steps.length < 2);
  if (steps.length < 2) return;
  const [first, last] = [steps[0][0], steps.at(-1)[0]];
  const points = steps.map(([at, part, whole]) => {
    const share = part / whole, spread = z * z / whole, half = z * Math.sqrt(share * (1 - share) / whole + spread / (4 * whole));
    const bound = sign => Math.min(1, Math.max(0, (share + spread / 2 + sign * half) / (1 + spread)));
    return { x: last > first ? 100 * (at - first) / (last - first) : 100, share, low: bound(-1), high: bound(1) };
  });
  const path = (name, list) => list.map(point => `${point.x.toFixed(2)},${(40 - 40 * point[name]).toFixed(2)}`);
  svg.querySelector("polygon").setAttribute("points", [...path("high", points), ...path("low", [...points].reverse())].join(" "));
  svg.querySelector("polyline").setAttribute("points", path("share", points).join(" "));
}
