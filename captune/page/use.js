"use strict";
// The page of `captune use`: one prompt to both models, with the same seed and temperature, side by side as the answers come.
const at = (id) => document.getElementById(id);
const SIDES = ["base", "tuned"];
let models = [], asking = null, seedGiven = false, surely = false;

async function json(path, body) {
  const answer = await fetch(path, body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error.message);
  return found;
}

async function showState() {
  try {
    const state = await json("/captune/state");
    models = state.models;
    at("run").textContent = "· " + state.run;
    const minutes = state.minutes_left === null ? "" : `, ${state.minutes_left} minutes left`;
    at("state").textContent = state.running ? `On ${state.where}. ${state.cost}${minutes}.` : `Ended: ${state.where} no longer answers.`;
    at("end").disabled = !state.running;
    at("send").disabled = !state.running || asking !== null; // it can be pressed again when both answers are there
    at("tuned").querySelector("h2").textContent = `Fine-tuned model (${models[1]})`;
    if (!seedGiven) at("seed").value = state.seed;
    if (at("known").options.length === 1)
      for (const prompt of state.prompts) at("known").add(new Option(prompt.slice(0, 100), prompt));
    seedGiven = true;
  } catch (error) {
    const ended = error instanceof TypeError; // no server listens
    at("state").textContent = ended ? "The server of captune use has ended: start it again." : error.message;
    at("end").disabled = ended;
    at("send").disabled = ended || asking !== null;
  }
}

async function stream(model, asked, show, signal) {
  const body = JSON.stringify({ ...asked, model, stream: true });
  const answer = await fetch("/v1/completions", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The answer was interrupted.");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: ?/, "");
      if (data === "[DONE]") return text;
      const piece = JSON.parse(data);
      if (piece.error) throw new Error(piece.error.message);
      text += piece.choices.length ? piece.choices[0].text : "";
      show(text);
    }
  }
}

function showMarked(place, text, spans) {
  place.replaceChildren();
  const letters = Array.from(text); // spans count letters, as Python does
  let from = 0;
  for (const [start, end] of spans) {
    place.append(letters.slice(from, start).join(""));
    const mark = document.createElement("mark");
    mark.textContent = letters.slice(start, end).join("");
    place.append(mark);
    from = end;
  }
  place.append(letters.slice(from).join(""));
}

async function ask(side, model, asked, signal) {
  const place = at(side).querySelector(".answer"), facts = at(side).querySelector(".facts");
  place.replaceChildren();
  facts.textContent = "…";
  facts.classList.remove("error");
  try {
    const text = await stream(model, asked, (so_far) => { place.textContent = so_far; }, signal);
    const marks = await json("/captune/marks", { prompt: asked.prompt, text });
    showMarked(place, text, marks.spans);
    const all = marks.found.length + marks.missing.length;
    facts.textContent = all ? `Key facts: ${marks.found.length} of ${all}` + (marks.found.length ? ` (${marks.found.join("; ")})` : "") : "No key facts are known for this prompt.";
  } catch (error) {
    facts.textContent = error.name === "AbortError" ? "Stopped." : error.message;
    facts.classList.toggle("error", error.name !== "AbortError");
  }
}

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (asking || !at("ask").reportValidity()) return;
  asking = new AbortController();
  at("send").disabled = true;
  at("stop").disabled = false;
  const temperature = Number(at("temperature").value);
  const asked = { prompt: at("prompt").value, temperature, top_p: temperature ? 0.9 : 1, seed: Number(at("seed").value), max_tokens: Number(at("tokens").value) };
  await Promise.all(SIDES.map((side, place) => ask(side, models[place], asked, asking.signal)));
  asking = null;
  at("stop").disabled = true;
  await showState();
});
at("stop").addEventListener("click", () => asking && asking.abort());
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
});
at("known").addEventListener("change", () => { if (at("known").value) at("prompt").value = at("known").value; });
at("end").addEventListener("click", async () => {
  if (!surely) {
    surely = true;
    at("end").textContent = "Confirm: end it";
    at("ended").textContent = "Both models stop answering at once. Press again to end, Escape to keep them.";
    return;
  }
  at("end").disabled = true;
  try {
    at("ended").textContent = (await json("/captune/end", {})).said;
  } catch (error) {
    at("ended").textContent = error.message;
  }
  keep();
  await showState();
});
function keep() {
  surely = false;
  at("end").textContent = "End it now";
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && surely) { keep(); at("ended").textContent = ""; }
});
showState();
setInterval(showState, 15000);
