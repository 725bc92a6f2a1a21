// Whether the stream has changed: the latest hour beside the first ones, which words differ, and what to do.

const DRIFT_EVERY = 60; // seconds
let drifted = null;

section({
  en: { stream: "The stream", drifted: s => `The detector's answers have changed: ${s.now} of messages pass, ${s.before} did before.`,
        steady: n => `The answers are as they were in the first hours (${n} messages of the latest hour).`,
        figure: s => `${{ unknown_words: "Unknown words", characters: "Length", hangul: "Hangul", latin: "Latin letters", links: "Links" }[s.figure]}: ${s.before.toFixed(2)} before, ${s.now.toFixed(2)} now`,
        said: list => `Words that differ: ${list}`, wasSaid: w => `${w.word} (${percent(w.before)}, now ${percent(w.now)})`,
        advice: name => ({ label: "What to do: label fifty messages, and the detector learns the new words.", adapt: "What to do: train or adapt a detector for this language; labels alone help little.",
                           "go back": "What to do: go back to the bundle as it was exported; the words are known again." })[name] },
  ko: { stream: "메시지 흐름", drifted: s => `탐지 결과가 달라졌습니다. 통과하는 메시지가 ${s.before}에서 ${s.now}로 바뀌었습니다.`,
        steady: n => `탐지 결과의 분포는 처음 몇 시간과 같습니다 (최근 1시간의 메시지 ${n}건 기준).`,
        figure: s => `${{ unknown_words: "모르는 단어 비율", characters: "길이", hangul: "한글 비율", latin: "로마자 비율", links: "링크 수" }[s.figure]}: 이전 ${s.before.toFixed(2)}, 현재 ${s.now.toFixed(2)}`,
        said: list => `달라진 단어: ${list}`, wasSaid: w => `${w.word} (${percent(w.before)} → ${percent(w.now)})`,
        advice: name => ({ label: "권장 조치: 메시지 50건에 라벨을 달면 탐지기가 새 단어를 학습합니다.", adapt: "권장 조치: 이 언어에 맞게 탐지기를 다시 학습하거나 적응시키십시오. 라벨만으로는 효과가 작습니다.",
                           "go back": "권장 조치: 내보낸 그대로의 번들로 되돌리십시오. 단어가 다시 학습 자료와 같아졌습니다." })[name] },
  start() {
    if (!about.drift) return;
    document.addEventListener("unlocked", fetchDrift);
    document.addEventListener("learned", fetchDrift);
    setInterval(() => { if (!document.hidden) fetchDrift(); }, 1000 * DRIFT_EVERY);
    fetchDrift();
  },
  draw() { drawDrift(); },
});

async function fetchDrift() {
  try {
    const response = await fetch("v1/drift", { headers: headers() });
    if (!response.ok) return;
    drifted = (await response.json()).drift;
  } catch { return; } // the server is away
  drawDrift();
}

function drawDrift() {
  $("drift").hidden = drifted === null;
  if (drifted === null) return;
  const { alarm, passing: [before, now], changes, said } = drifted, lines = [say("drifted", { before: percent(before), now: percent(now) })];
  lines.push(...changes.filter(each => each.large && each.figure !== "probability").map(each => say("figure", each)));
  if (said?.words.length) lines.push(say("said", said.words.map(each => say("wasSaid", each)).join(", ")));
  if (alarm) lines.push(say("advice", drifted.advice));
  $("drift-alarm").hidden = !alarm;
  $("drift-alarm").replaceChildren(...lines.map(text => element("p", "", text)));
  $("drift-note").textContent = alarm ? "" : say("steady", drifted.messages);
}
