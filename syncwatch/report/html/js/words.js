// Answers: how are figures put in words? As the rest of the page does.

const NOT_MEASURED = "not measured";

function micros(nanoseconds) {
  if (nanoseconds === null || nanoseconds === undefined) return NOT_MEASURED;
  if (nanoseconds < 0) return `-${micros(-nanoseconds)}`;
  const value = nanoseconds / 1e3;
  if (value >= 999500) return `${digits(value / 1e6)} s`;
  if (value >= 999.5) return `${digits(value / 1e3)} ms`;
  return `${digits(value)} µs`;
}

function digits(value) {
  if (value === 0) return "0";
  return grouped(value, value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2);
}

function grouped(value, decimals) {
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

// What stands between backticks is code.
function ticked(words) {
  return words.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

// The unit of an axis that shows `span` nanoseconds.
function unitOf(span) {
  if (span >= 2e9) return [1e9, "s"];
  if (span >= 2e6) return [1e6, "ms"];
  if (span >= 2e3) return [1e3, "µs"];
  return [1, "ns"];
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
