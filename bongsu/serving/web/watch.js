// The live watch: its state, running alerts with their evidence, closed alerts, and the latest messages.

const MOST_MESSAGES = 50, MOST_CLOSED = 20, EVIDENCE = 3;
const SILENT = 40, NO_NEWS = 15; // seconds: without a byte the connection is lost, without a status the watch hangs
const hazards = {
  ko: { earthquake: "지진", tsunami: "해일", flood: "홍수", storm: "폭풍", snow: "폭설", fire: "화재", explosion: "폭발", landslide: "산사태",
        volcano: "화산", attack: "공격", crash: "사고", collapse: "붕괴", heat: "폭염", epidemic: "감염병", leak: "누출", meteor: "운석", other: "기타" },
};
const watch = {
  running: new Map(), closed: [], messages: [], status: null, ended: null, connected: false, locked: false,
  lostSince: null, heard: Date.now(), news: Date.now(), unseen: false, sound: null, waiting: false,
};

section({
  en: { alerts: "Alerts", calm: "No alert is running.", recent: "Recent messages", quiet: "No message has passed yet.",
        closed: n => `Ended alerts (${n})`, soundOn: "Sound on", soundOff: "Sound off", post: "post",
        connecting: "Connecting…", waiting: "Connected; waiting for the first messages.", lockedOut: "This watch asks for an API key.",
        live: s => `${s.lag === null ? "Replay" : "Live"} · last message ${clockAgo(s.time) || "–"} · ${s.rate.toFixed(1)} messages/s · ${percent(s.share)} ${about.alarm ? named(about.alarm) : "alarms"}` +
                   (s.lag === null ? "" : ` · lag ${s.lag < 60 ? `${s.lag.toFixed(1)} s` : `${Math.round(s.lag / 60)} min`}`) + (s.dropped ? ` · ${s.dropped} dropped` : ""),
        hung: since => `Connected, but no news from the watch since ${since}.`,
        lost: since => `Disconnected since ${since}; trying again. What you see below may be out of date.`,
        ended: (reason, at) => `The watch ${{ finished: "ended", stopped: "was stopped", failed: "failed" }[reason] ?? "ended"} at ${at}. Below is what it knew then.`,
        zone: zone => `times in ${zone}`, begun: at => `started ${at}`, raised: at => `alarm ${at}`, latest: at => `last message ${at}`, over: at => `ended ${at}`,
        counts: a => `${a.messages} messages` + (a.authors ? `, ${a.authors} people` : "") + (a.copies ? `, ${a.copies} copies` : ""),
        official: n => n === 1 ? "confirmed by an official record" : `confirmed by ${n} official records`, inHand: "in hand", alert: "Alert" },
  ko: { alerts: "경보", calm: "진행 중인 경보가 없습니다.", recent: "최근 메시지", quiet: "아직 통과한 메시지가 없습니다.",
        closed: n => `끝난 경보 (${n})`, soundOn: "소리 켜짐", soundOff: "소리 꺼짐", post: "원문",
        connecting: "연결하는 중…", waiting: "연결되었습니다. 첫 메시지를 기다립니다.", lockedOut: "이 감시 화면을 보려면 API 키가 필요합니다.",
        live: s => `${s.lag === null ? "재생" : "실시간"} · 마지막 메시지 ${clockAgo(s.time) || "–"} · 초당 ${s.rate.toFixed(1)}건 · ${about.alarm ? named(about.alarm) : "경보 대상"} ${percent(s.share)}` +
                   (s.lag === null ? "" : ` · 지연 ${s.lag < 60 ? `${s.lag.toFixed(1)}초` : `${Math.round(s.lag / 60)}분`}`) + (s.dropped ? ` · 버림 ${s.dropped}건` : ""),
        hung: since => `연결되어 있지만 ${since}부터 감시에서 소식이 없습니다.`,
        lost: since => `${since}부터 연결이 끊겨 다시 연결하고 있습니다. 아래 내용은 최신이 아닐 수 있습니다.`,
        ended: (reason, at) => `감시가 ${at}에 ${{ finished: "끝났습니다", stopped: "중지되었습니다", failed: "오류로 멈췄습니다" }[reason] ?? "끝났습니다"}. 아래는 그때까지의 내용입니다.`,
        zone: zone => `시각은 ${zone} 기준`, begun: at => `시작 ${at}`, raised: at => `경보 ${at}`, latest: at => `마지막 메시지 ${at}`, over: at => `종료 ${at}`,
        counts: a => `메시지 ${a.messages}건` + (a.authors ? `, ${a.authors}명` : "") + (a.copies ? `, 사본 ${a.copies}건` : ""),
        official: n => `공식 재난문자 ${n}건으로 확인됨`, inHand: "대응 중", alert: "경보" },
  start() {
    if (!about.watches) return;
    document.body.classList.add("watching");
    $("watch").hidden = false;
    $("sound").addEventListener("click", switchSound);
    $("alerts-csv").addEventListener("click", () => save("alerts.csv", csv(alertRows()), "text/csv"));
    $("alerts-json").addEventListener("click", () => save("alerts.json", JSON.stringify(allAlerts(), null, 1), "application/json"));
    document.addEventListener("visibilitychange", () => { if (!document.hidden) { watch.unseen = false; drawState(); } });
    setInterval(drawState, 1000);
    setInterval(drawAlerts, 20000); // "minutes ago"
    listen();
  },
  draw() {
    if (!about.watches) return;
    drawState();
    drawAlerts();
    drawMessages();
  },
});

function drawState() {
  const { status, ended } = watch;
  const over = ended !== null, lost = !over && watch.lostSince !== null;
  const hung = !over && !lost && status !== null && Date.now() - watch.news > 1000 * NO_NEWS;
  let text = say("connecting");
  if (over) text = say("ended", ended.reason, clock(ended.time));
  else if (watch.locked) text = say("lockedOut");
  else if (lost) text = say("lost", clock(watch.lostSince));
  else if (hung) text = say("hung", clock(watch.news));
  else if (status) text = `${say("live", status)} · ${say("zone", Intl.DateTimeFormat().resolvedOptions().timeZone)}`;
  else if (watch.connected) text = say("waiting");
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = over ? "over" : lost || hung ? "lost" : "";
  document.body.classList.toggle("stale", over || lost || hung);
  const count = watch.running.size;
  const title = (lost || hung ? "⚠ " : "") + (count && !over ? `(${count}) ` : "") + (watch.unseen ? "● " : "") + "Bongsu 봉수";
  if (document.title !== title) document.title = title;
}

// An alert as a reader calls it: its own title is in English, and in small letters.
function called(alert) {
  const hazard = hazards[language]?.[alert.hazard];
  const places = (alert.places ?? []).map(place => place.replace(/(^|[ -])\p{Ll}/gu, letter => letter.toUpperCase()));
  return hazard ? [hazard, ...places].join(" · ") : [alert.hazard ? alert.hazard[0].toUpperCase() + alert.hazard.slice(1) : alert.title, ...places].join(" · ");
}

function times(alert) {
  const parts = [[alert.first_message, "begun"], [alert.raised, "raised"], [alert.latest_message, "latest"], [alert.closed, "over"]];
  return parts.filter(([time]) => time).map(([time, name]) => say(name, name === "raised" ? clock(time) : clockAgo(time)));
}

function alertCard(alert) {
  const item = element("li"), line = element("div", "verdict");
  item.id = `alert-${alert.id}`;
  line.append(element("span", "", called(alert)), element("span", "", say("counts", alert)));
  const notes = [...times(alert), ...(alert.references?.length ? [say("official", alert.references.length)] : []), ...(alert.acknowledged ? [say("inHand")] : [])];
  const quotes = element("ol", "quotes"), foot = element("div", "foot");
  for (const message of (alert.evidence ?? []).slice(0, EVIDENCE)) {
    const quote = element("li", "", `${plain(message.text)} `);
    quote.append(link(message.url, say("post")));
    quotes.append(quote);
  }
  foot.append(element("span", "note", notes.join(" · ")), button(say("copy"), event => copyText(asText(alert), event.target)));
  item.append(line, quotes, foot);
  return item;
}

function asText(alert) {
  const evidence = (alert.evidence ?? []).map(message => `- ${plain(message.text)}${message.url ? ` ${message.url}` : ""}`);
  return [`${say("alert")}: ${called(alert)} (${say("counts", alert)})`, times(alert).join(" · "), ...evidence].join("\n");
}

// An alert is drawn anew when it or its "minutes ago" has changed.
function keyed(alert) {
  return { key: JSON.stringify(alert) + times(alert).join(), value: alert };
}

function drawAlerts() {
  const running = [...watch.running.values()].reverse();
  render($("alerts"), running.map(keyed), alertCard);
  $("calm").hidden = running.length > 0;
  $("closed").hidden = watch.closed.length === 0;
  $("closed").querySelector("summary").textContent = say("closed", watch.closed.length);
  render($("closed").querySelector("ol"), [...watch.closed].reverse().map(keyed), alertCard);
  $("alerts-csv").disabled = $("alerts-json").disabled = running.length + watch.closed.length === 0;
  $("sound").textContent = say(watch.sound ? "soundOn" : "soundOff");
  $("sound").setAttribute("aria-pressed", String(watch.sound !== null));
  drawState();
}

function messageRow(message) {
  const item = element("li"), text = element("span", "", `${plain(message.text)} `);
  text.append(link(message.url, say("post")));
  item.append(element("time", "", clock(message.time)), element("b", "", `${Math.round(100 * message.probability)} %`), text);
  return item;
}

function drawMessages() {
  watch.waiting = false;
  render($("stream"), [...watch.messages].reverse().map(message => ({ key: `${message.source} ${message.id} ${message.time}`, value: message })), messageRow);
  $("quiet").hidden = watch.messages.length > 0;
}

function allAlerts() {
  return [...watch.closed, ...watch.running.values()];
}

function alertRows() {
  const head = ["id", "title", "state", "first_message", "raised", "latest_message", "closed", "messages", "authors", "copies", "evidence", "links"];
  const lists = alert => [(alert.evidence ?? []).map(m => m.text).join("\n"), (alert.evidence ?? []).map(m => m.url).filter(Boolean).join("\n")];
  return [head, ...allAlerts().map(alert => [...head.slice(0, -2).map(name => alert[name]), ...lists(alert)])];
}

// Two short tones, made here: nothing is loaded.
function beep() {
  const context = watch.sound;
  if (context === null) return;
  context.resume();
  for (const [delay, pitch] of [[0, 660], [0.2, 880]]) {
    const tone = context.createOscillator(), volume = context.createGain();
    tone.frequency.value = pitch;
    volume.gain.value = 0.15;
    tone.connect(volume).connect(context.destination);
    tone.start(context.currentTime + delay);
    tone.stop(context.currentTime + delay + 0.15);
  }
}

function switchSound() {
  if (watch.sound) { watch.sound.close(); watch.sound = null; } else { watch.sound = new AudioContext(); beep(); }
  drawAlerts();
}

function taken(event) {
  return message => (message.source ?? "") === event.source && (event.author ? message.author === event.author : message.id === event.id);
}

function setAlert(alert) {
  const known = watch.running.get(alert.id);
  watch.closed = watch.closed.filter(each => each.id !== alert.id);
  if (alert.state === "closed") {
    watch.running.delete(alert.id);
    watch.closed = [...watch.closed, alert].slice(-MOST_CLOSED);
  } else {
    watch.running.set(alert.id, alert); // an alert that is known keeps its place
  }
  return !known && alert.state === "opened";
}

function addMessage(message) {
  if (message.id !== undefined && watch.messages.some(each => each.id === message.id && each.source === message.source)) return;
  watch.messages = [...watch.messages, message].slice(-MOST_MESSAGES);
}

// What changes from second to second of a running alert comes with the status.
function setStatus(status) {
  if (status === null) return;
  watch.status = status;
  watch.news = Date.now();
  for (const now of status.running ?? []) {
    const alert = watch.running.get(now.id);
    if (alert) Object.assign(alert, now);
  }
}

function happened(event) {
  if (event.type === "snapshot") {
    Object.assign(watch, { running: new Map(), closed: [], messages: [], status: null, ended: event.ended });
    event.alerts.forEach(setAlert);
    event.messages.forEach(addMessage);
    setStatus(event.status);
    drawAlerts();
    drawMessages();
  } else if (event.type === "status") {
    watch.ended = null;
    const changed = (event.running ?? []).some(now => watch.running.get(now.id)?.messages !== now.messages);
    setStatus(event);
    if (changed) drawAlerts();
  } else if (event.type === "message") {
    addMessage(event);
    if (!watch.waiting) requestAnimationFrame(drawMessages);
    watch.waiting = true;
  } else if (event.type === "alert") {
    if (setAlert(event)) {
      watch.unseen = document.hidden;
      beep();
    }
    drawAlerts();
  } else if (event.type === "version") {
    document.dispatchEvent(new CustomEvent("learned", { detail: event }));
  } else if (event.type === "deletion") {
    watch.messages = watch.messages.filter(message => !taken(event)(message));
    for (const alert of allAlerts()) alert.evidence = (alert.evidence ?? []).filter(message => !taken(event)(message));
    drawAlerts();
    drawMessages();
  } else if (event.type === "ended") {
    watch.ended = event;
    drawAlerts();
  }
}

// An error of this page's own is no lost connection.
function received(data) {
  try { happened(JSON.parse(data)); } catch (error) { reportError(error); }
}

// Server-sent events by fetch, which unlike EventSource can send an API key.
async function listen() {
  for (let pause = 1; ; pause = Math.min(30, 2 * pause)) {
    const stop = new AbortController();
    const guard = setInterval(() => { if (Date.now() - watch.heard > 1000 * SILENT) stop.abort(); }, 1000);
    watch.heard = Date.now();
    try {
      const response = await fetch("v1/stream", { headers: headers(), signal: stop.signal });
      watch.locked = response.status === 401;
      if (watch.locked) askForKey();
      if (response.ok) {
        Object.assign(watch, { connected: true, lostSince: null, news: Date.now() });
        $("locked").hidden = true;
        drawState();
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let buffer = "", part; !(part = await reader.read()).done;) {
          pause = 1;
          watch.heard = Date.now();
          const blocks = (buffer + part.value).split("\n\n");
          buffer = blocks.pop();
          for (const block of blocks) if (block.startsWith("data: ")) received(block.slice(6));
        }
      }
    } catch { /* the network is away: try again */ }
    clearInterval(guard);
    stop.abort();
    watch.connected = false;
    if (!watch.locked) watch.lostSince ??= watch.heard;
    drawState();
    await new Promise(wake => {
      setTimeout(wake, 1000 * pause);
      document.addEventListener("unlocked", wake, { once: true });
    });
  }
}
