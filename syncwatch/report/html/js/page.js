// Answers: what starts when the page opens? The timeline, the sorting, the theme, and a light page for paper.

performance.mark("syncwatch:start");
const packed = document.getElementById("data");
const DATA = packed ? unpacked(JSON.parse(packed.textContent)) : null;
const timeline = DATA ? new Timeline(document.getElementById("timeline")) : null;
performance.mark("syncwatch:drawn");
performance.measure("syncwatch:draw", "syncwatch:start", "syncwatch:drawn");

for (const table of document.querySelectorAll("table.sortable")) sortable(table);

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const toggle = document.getElementById("theme");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
}

function themed() {
  toggle.setAttribute("aria-pressed", String(isDark()));
  if (timeline) timeline.theme();
}

toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; themed(); });
system.addEventListener("change", themed);
themed();

let before;
addEventListener("beforeprint", () => { before = root.dataset.theme; root.dataset.theme = "light"; themed(); });
addEventListener("afterprint", () => {
  if (before) root.dataset.theme = before;
  else delete root.dataset.theme;
  themed();
});
