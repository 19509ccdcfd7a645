// Shows the values under the pointer. The charts are whole without this.
"use strict";
const tip = document.getElementById("tip");

function nearest(points, distance) {
  return points.reduce((best, point) => (distance(point) < distance(best) ? point : best));
}

for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg");
  const pointer = svg.querySelector(".pointer");
  const data = JSON.parse(chart.querySelector("script").textContent);

  function row(style, text) {
    const line = document.createElement("div");
    line.className = style;
    line.append(document.createElement("i"), text);
    return line;
  }

  function show(event) {
    const matrix = svg.getScreenCTM().inverse();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    const rows = [];
    if (data.nearest) {
      const all = data.series.flatMap((one) => one.points.map((point) => [...point, one]));
      const [x, y, value, size, one] = nearest(all, ([px, py]) => (px - at.x) ** 2 + (py - at.y) ** 2);
      pointer.setAttribute("d", `M${x - 6} ${y}a6 6 0 1 0 12 0a6 6 0 1 0 -12 0`);
      rows.push(row(one.style, `${one.name}: ${value}  ${size}`));
    } else {
      const hits = data.series.map((one) => [one, nearest(one.points, ([px]) => Math.abs(px - at.x))]);
      const [, lead] = nearest(hits, ([, [px]]) => Math.abs(px - at.x));
      pointer.setAttribute("d", `M${lead[0]} 12V${svg.viewBox.baseVal.height - 44}`);
      const head = document.createElement("div");
      head.textContent = `${data.x} ${lead[2]}`;
      rows.push(head, ...hits.map(([one, point]) => row(one.style, `${one.name} ${point[3]}`)));
    }
    tip.replaceChildren(...rows);
    tip.hidden = false;
    const flip = event.clientX > innerWidth - tip.offsetWidth - 30;
    tip.style.left = `${event.pageX + (flip ? -tip.offsetWidth - 14 : 14)}px`;
    tip.style.top = `${event.pageY + 14}px`;
  }

  function hide() {
    tip.hidden = true;
    pointer.setAttribute("d", "");
  }

  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
