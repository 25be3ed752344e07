// Answers: what is said of what is selected? A wait with its line, cause, price and fix; else name and time.

function showDetail(panel, selected) {
  const variant = DATA.variants[selected.variant];
  const mark = variant.modelled ? " (modelled)" : "";
  const parts = selected.wait === undefined ? blockParts(variant, selected, mark) : waitParts(variant, variant.waits[selected.wait], mark);
  panel.replaceChildren(...parts);
}

function waitParts(variant, wait, mark) {
  const finding = wait.finding === null ? null : DATA.findings[wait.finding];
  const text = (index) => DATA.strings[index];
  const parts = [];
  if (finding) {
    const asked = lookOfWait(wait) === "asked";
    const head = element("h3", {}, element("b", { class: asked ? "cause asked" : "cause" }, finding.code), " ", ...ticked(finding.title));
    if (finding.explicit) head.append(" (asked for)");
    parts.push(head, element("p", { class: "place" }, placeOf(finding, wait)));
    if (finding.before || finding.marked || finding.after) {
      const marked = element("mark", asked ? { class: "asked" } : {}, finding.marked);
      parts.push(element("code", { class: "code" }, finding.before, marked, finding.after));
    }
  } else {
    parts.push(element("h3", {}, "The runner itself waited here, to keep its run-ahead; it counts for nobody."));
  }
  const facts = [
    [`host blocked${mark}`, micros(wait.length)],
    [`of it, the GPU still worked${mark}`, micros(wait.drain)],
    [`call overhead${mark}`, micros(wait.overhead)],
    [`GPU idle after it${mark}`, micros(wait.idle ? wait.idle[1] : null)],
    [`its stream idle${mark}`, micros(wait.stream_idle)],
    ["call", text(wait.api)],
    ["variant", variant.name],
    ...(variant.steps.length ? [["step", stepWords(variant, wait.step)]] : []),
    [`start${mark}`, micros(wait.start)],
  ];
  if (wait.op !== null) facts.push(["operator", text(wait.op)]);
  if (wait.stream !== null) facts.push(["stream", String(wait.stream)]);
  if (wait.ranges.length) facts.push(["in ranges", wait.ranges.map(text).join(" › ")]);
  if (wait.allowed !== null) facts.push(["allowed", text(wait.allowed)]);
  parts.push(factsOf(facts));
  if (finding) parts.push(element("p", { class: "fix" }, element("b", {}, "Fix: "), ...ticked(finding.hint)));
  return parts;
}

// What is drawn by the switch of a line, with how long the same steps would take.
function withoutWords(variant) {
  const { shown } = variant;
  const begin = shown.steps[0][0];
  const steps = shown.steps.length > 1 ? `${shown.steps.length} steps` : "the step";
  const times = `${micros(shown.end - begin)} instead of ${micros(shown.recorded_end - begin)}`;
  return `${steps} without ${shown.place}: ${times}${variant.modelled ? " (modelled)" : ""}`;
}

function showWithout(panel, variant) {
  const watched = variant.modelled ? "" : "; what watching took is in both";
  const said = variant.shown ? `Below ${variant.name}: ${withoutWords(variant)}${watched}.` : `${variant.name} as it was.`;
  panel.replaceChildren(element("p", {}, said));
}

function placeOf(finding, wait) {
  if (finding.file === NO_LINE) {
    const range = finding.range === null ? "" : ` in range "${finding.range}"`;
    return `no Python line; seen as ${DATA.strings[wait.api]}${range}`;
  }
  if (!finding.exact) return `in function ${finding.function} (defined at ${finding.file}:${finding.line})`;
  return `${finding.file}:${finding.line}${finding.function ? ` in ${finding.function}` : ""}`;
}

function shortPlace(finding, wait) {
  return finding.file === NO_LINE ? DATA.strings[wait.api] : `${finding.file.split("/").pop()}:${finding.line}`;
}

const NO_LINE = "<no Python line>";

function stepWords(variant, index) {
  if (index === null) return "outside every step";
  const step = variant.steps.find(([number]) => number === index);
  return step && step[1] ? `${index}, warm-up` : String(index);
}

function blockParts(variant, selected, mark) {
  const { row } = selected;
  const index = row.index[selected.at];
  const facts = [
    [`time${mark}`, micros(row.end[selected.at] - row.start[selected.at])],
    [`start${mark}`, micros(row.start[selected.at])],
    ["where", row.lane.label],
    ["variant", variant.name],
  ];
  const merged = row.lane.merged[index];
  if (merged) facts.unshift(["events", merged[0].toLocaleString("en-US")], [`busy${mark}`, micros(merged[1])]);
  return [element("h3", {}, DATA.strings[row.lane.name[index]]), factsOf(facts)];
}

function factsOf(facts) {
  return element("dl", {}, ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function tipOf(found) {
  const variant = DATA.variants[found.variant];
  const mark = variant.modelled ? " (modelled)" : "";
  if (found.wait !== undefined) {
    const wait = variant.waits[found.wait];
    const finding = wait.finding === null ? null : DATA.findings[wait.finding];
    const what = finding ? `${finding.code} ${placeOf(finding, wait)}` : "the runner's own pacing";
    return `${what}\nhost blocked ${micros(wait.length)}, GPU idle ${micros(wait.idle ? wait.idle[1] : null)}${mark}`;
  }
  const { row, at } = found;
  return `${DATA.strings[row.lane.name[row.index[at]]]}\n${micros(row.end[at] - row.start[at])}${mark}`;
}
