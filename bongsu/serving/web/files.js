// Files of messages: text with a message a line, and tables (CSV, TSV), in the encodings that people have.

const TEXT_COLUMNS = ["text", "message", "content", "tweet", "tweet_text", "full_text", "body", "내용", "본문", "메시지", "텍스트"];
const MOST_ROWS = 20000;

// The text of a file: UTF-8 or UTF-16 by its mark, else UTF-8, else what Korean Windows writes (CP949).
function decoded(bytes) {
  const start = new Uint8Array(bytes.slice(0, 2));
  const mark = `${start[0]} ${start[1]}`;
  if (mark === "255 254" || mark === "254 255") return new TextDecoder(mark === "255 254" ? "utf-16le" : "utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("euc-kr").decode(bytes);
  }
}

// The rows of a table; cells in quotes may hold delimiters, line ends and doubled quotes.
function tableRows(text, delimiter) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') { cell += '"'; at += 1; }
      else quoted = false;
    } else if (letter === '"' && cell === "") quoted = true;
    else if (letter === delimiter) { row.push(cell); cell = ""; }
    else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && text[at + 1] === "\n") at += 1;
      rows.push([...row, cell]);
      row = []; cell = "";
    } else cell += letter;
  }
  if (cell !== "" || row.length) rows.push([...row, cell]);
  return rows.filter(each => each.some(value => value.trim()));
}

// What a file holds: its columns and rows; plain text is one column without a name.
function tableOf(name, text) {
  text = text.replace(/^\ufeff/, "");
  const first = text.split(/\r?\n/, 1)[0];
  const delimiter = [",", "\t", ";", "|"].reduce((best, each) => first.split(each).length > first.split(best).length ? each : best);
  const isTable = /\.(csv|tsv)$/i.test(name) || (!/\.te?xt$/i.test(name) && TEXT_COLUMNS.some(each => first.toLowerCase().split(delimiter).includes(each)));
  if (!isTable) return { columns: [""], rows: text.split(/\r?\n/).filter(line => line.trim()).map(line => [line]), column: 0 };
  const [head = [], ...rows] = tableRows(text, delimiter);
  const columns = head.map(each => each.trim()), known = columns.findIndex(each => TEXT_COLUMNS.includes(each.toLowerCase()));
  if (known < 0 && columns.length === 1) return { columns: [""], rows: [head, ...rows], column: 0 }; // messages without a heading
  const length = column => rows.slice(0, 100).reduce((sum, row) => sum + (row[column] ?? "").length, 0);
  const longest = columns.reduce((best, _, column) => length(column) > length(best) ? column : best, 0);
  return { columns, rows, column: known < 0 ? longest : known };
}
