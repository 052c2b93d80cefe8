// Opens every report.html of a folder in headless Chromium at three widths, light and dark, and checks what can be seen.
//
//     python -m verification.experiments.report_examples FOLDER
//     node verification/experiments/browser_check.mjs FOLDER [--shots]      (CHROMIUM=... names the browser if it is not `chromium`)
//
// Checked with every fold open: no horizontal overflow, contrast of all text at least 4.5 : 1, chart labels inside their
// chart and apart from each other, one h1, no skipped heading level, no duplicate id, nothing on the console, no request.
// Exit code 1 if anything is found. With --shots a full-page picture of each view is written beside the page.
// Node 22 or later (built-in WebSocket); nothing to install.

import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

const WIDTHS = [360, 768, 1280];
const SCHEMES = ["light", "dark"];

/** Runs inside the page; returns a list of findings. */
function inspect() {
  const found = [];
  document.querySelectorAll("details").forEach((fold) => (fold.open = true));
  const numbers = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((c) => ((c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || ["style", "title", "desc"].includes(element.tagName.toLowerCase())) continue;
    const style = getComputedStyle(element);
    const ink = luminance(numbers(element instanceof SVGElement ? style.fill : style.color));
    const paper = luminance(background(element));
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) found.push(`contrast ${ratio.toFixed(2)}: ${element.tagName} ${element.getAttribute("class") || ""}`);
  }
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > room) found.push("the page scrolls sideways");
  document.querySelectorAll("body *:not(.skip)").forEach((e) => {
    if (e.closest("svg") && e.tagName !== "svg") return;
    const head = e.closest("thead"); // on a phone it is there for screen readers only, clipped to one pixel
    if (head && head.getBoundingClientRect().width <= 1) return;
    const box = e.getBoundingClientRect();
    if (box.width && box.right > room + 0.5) found.push(`overflow: ${e.tagName} ${e.getAttribute("class") || ""}`);
  });
  let charts = 0;
  document.querySelectorAll("svg.chart").forEach((chart) => {
    if (getComputedStyle(chart).display === "none") return;
    charts += 1;
    if (chart.getBoundingClientRect().height < 20) found.push("a chart has no height");
    const view = chart.viewBox.baseVal;
    const labels = [...chart.querySelectorAll("text")];
    const boxes = labels.map((label) => label.getBBox());
    boxes.forEach((a, i) => {
      if (a.x < -1.5 || a.x + a.width > view.width + 1.5 || a.y < -1 || a.y + a.height > view.height + 1)
        found.push(`chart label cut off: ${labels[i].textContent}`);
      boxes.slice(0, i).forEach((b, j) => {
        const apart = a.x >= b.x + b.width - 1 || b.x >= a.x + a.width - 1 || a.y >= b.y + b.height - 3 || b.y >= a.y + a.height - 3;
        if (!apart) found.push(`chart labels overlap: ${labels[i].textContent} and ${labels[j].textContent}`);
      });
    });
  });
  const levels = [...document.querySelectorAll("h1,h2,h3,h4,h5,h6")].map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push("not exactly one h1");
  levels.forEach((level, i) => i && level > levels[i - 1] + 1 && found.push(`heading level skipped: h${levels[i - 1]} to h${level}`));
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) found.push("duplicate id");
  return { charts, found: [...new Set(found)], height: document.documentElement.scrollHeight };
}

/** Starts the browser; resolves to a function that sends a command, the events seen, and a function that ends it. */
async function browser() {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "report-"));
  const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"];
  const child = spawn(process.env.CHROMIUM || "chromium", [...flags, `--user-data-dir=${profile}`, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const address = await new Promise((resolve, reject) => {
    let text = "";
    child.on("error", reject);
    child.stderr.on("data", (data) => {
      text += data;
      const match = text.match(/ws:\/\/\S+/);
      if (match) resolve(match[0]);
    });
  });
  const socket = new WebSocket(address);
  await new Promise((resolve) => (socket.onopen = resolve));
  const waiting = new Map();
  const listeners = [];
  let last = 0;
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (!message.id) return listeners.forEach((listener) => listener(message));
    const [resolve, reject] = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  };
  const send = (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, [resolve, reject]);
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    });
  const end = async () => {
    const ended = new Promise((resolve) => child.on("exit", resolve));
    socket.close();
    child.kill();
    await ended;
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { send, end, listen: (listener) => listeners.push(listener) };
}

const [folder, option] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node verification/experiments/browser_check.mjs FOLDER [--shots]");
  process.exit(2);
}
const pages = fs.readdirSync(folder).filter((name) => name.endsWith(".html")).sort();
const { send, end, listen } = await browser();
const { targetId } = await send("Target.createTarget", { url: "about:blank" });
const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
let problems = pages.length ? 0 : 1;
let seen = [];
let loaded = () => {};
listen((event) => {
  if (event.method === "Page.loadEventFired") loaded();
  if (["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"].includes(event.method)) seen.push("something on the console");
  if (event.method === "Network.requestWillBeSent" && !/^(file|data):/.test(event.params.request.url)) seen.push(`request to ${event.params.request.url}`);
});
for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`, {}, sessionId);
for (const name of pages)
  for (const width of WIDTHS)
    for (const scheme of SCHEMES) {
      seen = [];
      await send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: width < 500 }, sessionId);
      await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] }, sessionId);
      const ready = new Promise((resolve) => (loaded = resolve));
      await send("Page.navigate", { url: pathToFileURL(path.resolve(folder, name)).href }, sessionId);
      await ready;
      if (option === "--shots") {
        const { cssContentSize: size } = await send("Page.getLayoutMetrics", {}, sessionId);
        const clip = { x: 0, y: 0, width, height: Math.min(size.height, 15000), scale: 1 };
        const shot = await send("Page.captureScreenshot", { format: "png", captureBeyondViewport: true, clip }, sessionId);
        fs.writeFileSync(path.join(folder, name.replace(".html", `-${width}-${scheme}.png`)), Buffer.from(shot.data, "base64"));
      }
      const { result } = await send("Runtime.evaluate", { expression: `(${inspect})()`, returnByValue: true }, sessionId);
      const found = [...seen, ...(result.value?.found ?? ["the page could not be inspected"])];
      problems += found.length;
      console.log(`${name.padEnd(24)} ${String(width).padStart(5)} ${scheme.padEnd(5)} ${result.value?.charts ?? 0} charts  ${found.length ? found.slice(0, 6).join("; ") : "ok"}`);
    }
await end();
console.log(problems ? `${problems} findings` : `ok: ${pages.length} pages, ${pages.length * WIDTHS.length * SCHEMES.length} views`);
process.exit(problems ? 1 : 0);
