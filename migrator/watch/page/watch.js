"use strict";
// Without the style: its nonce is not that of this page, and the browser would report that.
function parsed(html) {
  return new DOMParser().parseFromString(html.replace(/<style[^]*?<\/style>/, ""), "text/html");
}

(() => {
  const KEPT = 150, SPAN_SECONDS = 10, PATIENCE_MS = 20000;
  const main = document.querySelector("main");
  const connection = document.getElementById("connection");
  const readings = [];

  // Changes only what differs, so that the focus, selections and scroll positions stay.
  function patch(here, there) {
    if (here.isEqualNode(there)) return;
    if (here.nodeName !== there.nodeName) {
      here.replaceWith(there);
    } else if (here.nodeType !== Node.ELEMENT_NODE) {
      here.nodeValue = there.nodeValue;
    } else {
      for (const name of here.getAttributeNames()) if (!there.hasAttribute(name)) here.removeAttribute(name);
      for (const name of there.getAttributeNames()) here.setAttribute(name, there.getAttribute(name));
      const old = [...here.childNodes], children = [...there.childNodes];
      children.forEach((child, index) => index < old.length ? patch(old[index], child) : here.append(child));
      old.slice(children.length).forEach((child) => child.remove());
    }
  }

  // The server writes all texts.
  function update(page) {
    for (const part of page.querySelectorAll("[data-live]")) patch(document.getElementById(part.id), part);
    Object.assign(main.dataset, page.querySelector("main").dataset);
    document.title = page.title;
  }

  function remember() {
    const { at, rows } = main.dataset;
    if (!at) return;
    const reading = { at: Number(at), rows: Number(rows) };
    const last = readings.at(-1);
    if (last && reading.rows < last.rows) readings.length = 0;  // another run
    if (!last || reading.at > last.at) readings.push(reading);
    if (readings.length > KEPT) readings.shift();
  }

  // Rows per second over the last seconds before each reading: chunks are committed in bursts.
  function rates() {
    let first = 0;
    return readings.slice(1).map((reading, index) => {
      while (first < index && reading.at - readings[first].at > SPAN_SECONDS) first += 1;
      const since = readings[first];
      return { at: reading.at, rate: (reading.rows - since.rows) / (reading.at - since.at) };
    });
  }

  function plot() {
    const points = rates(), figure = document.getElementById("rate");
    const highest = Math.max(...points.map((point) => point.rate));
    figure.hidden = points.length < 2 || !(highest > 0);
    if (figure.hidden) return;
    const start = points[0].at, span = points.at(-1).at - start;
    const line = points.map(({ at, rate }) =>
      `${((at - start) / span * 600).toFixed(1)},${(78 - rate / highest * 76).toFixed(1)}`);
    figure.querySelector("polyline").setAttribute("points", line.join(" "));
    figure.querySelector(".area").setAttribute("d", `M0,80 L${line.join(" L")} L600,80 Z`);
    const number = (rate) => Math.round(rate).toLocaleString("en-US");
    const text = `Rows per second, the last ${Math.max(Math.round(span), 1)} s: now ${number(points.at(-1).rate)}, ` +
      `highest ${number(highest)}`;
    figure.querySelector("svg").setAttribute("aria-label", text);
    figure.querySelector("figcaption").textContent = text;
  }

  function say(text) {
    connection.hidden = !text;
    if (connection.textContent !== text) connection.textContent = text;
  }

  async function refresh() {
    const response = await fetch(location.pathname + main.dataset.next, {
      cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.type === "opaqueredirect" || response.status === 403) {
      say("You are signed out, so this page is no longer up to date. Load it again to sign in.");
    } else if (!response.ok) {
      say(`The site answered with an error (${response.status}). This page shows what was read last, and tries again.`);
    } else {
      update(parsed(await response.text()));
      remember();
      plot();
      say("");
    }
  }

  async function watch() {
    if (!document.hidden) {
      try {
        await refresh();
      } catch {
        say("The site does not answer. This page shows what was read last, and tries again.");
      }
    }
    setTimeout(watch, main.dataset.seconds * 1000);
  }

  remember();
  setTimeout(watch, main.dataset.seconds * 1000);
})();
