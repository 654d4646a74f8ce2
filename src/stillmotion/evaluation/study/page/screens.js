// The three screens as elements. Texts only ever become text nodes, never markup.

function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== ""));
  return element;
}

// Words with their {places} filled in.
function filled(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

function button(text, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, text);
}

function startScreen(words, { rater, remembers, onStart }) {
  const name = el("input", {
    id: "rater", type: "text", maxLength: 60, required: true, value: rater, autocomplete: "off",
    spellcheck: false, oninput: () => name.setCustomValidity(""),
  });
  const consent = el("input", { id: "consent", type: "checkbox", required: true });
  const submit = (event) => {
    event.preventDefault();
    const tidy = tidyName(name.value);
    if (tidy) return onStart(tidy);
    name.setCustomValidity(words.name_missing);
    return name.reportValidity();
  };
  return el("main", { className: "sheet" },
    el("h1", { tabIndex: -1 }, words.title),
    words.instructions.split(/\n{2,}/).map((text) => el("p", {}, text)),
    remembers ? null : el("p", { className: "warning" }, words.no_memory),
    el("form", { onsubmit: submit },
      el("label", { htmlFor: "rater" }, words.name), name,
      el("label", { className: "consent" }, consent, el("span", {}, words.consent)),
      el("button", { type: "submit", className: "primary" }, words.start)));
}

function endScreen(words, { done, total, session, text, remembers, onSave, onBack, onAnother }) {
  const file = fileName(session.rater);
  const said = el("p", { className: "status", role: "status" });
  const tellSaved = () => { said.textContent = filled(words.saved, { file }); };
  if (session.saved) tellSaved();
  return el("main", { className: "sheet" },
    el("h1", { tabIndex: -1 }, words.finished),
    el("p", {}, filled(words.answered, { done, total }), " ", done < total ? words.unfinished : ""),
    el("p", {}, words.save_hint),
    remembers ? null : el("p", { className: "warning" }, words.no_memory),
    el("p", {}, button(words.save, () => { onSave(); tellSaved(); }, { className: "primary", id: "save" })),
    said,
    el("details", {}, el("summary", {}, words.by_hand),
      el("textarea", { readOnly: true, rows: 8, value: text, "aria-label": words.by_hand,
        onfocus: (event) => event.target.select() })),
    el("p", { className: "row" }, button(words.go_back, onBack), button(words.another, onAnother)));
}

// One question: `view` holds what changes while it is answered.
function trialScreen(words, { study, trial, step, number, total, aspects, act }) {
  const { width, height, crisp } = trial.frames;
  const canvas = (label) => el("canvas", {
    width, height, className: crisp ? "crisp" : "", role: "img", "aria-label": label,
  });
  const still = el("img", {
    src: trial.still, alt: words.given, width, height, className: crisp ? "crisp" : "",
  });
  const cards = step.order.map((clip, i) => clipCard(words, clip, letterOf(i), canvas(""), act));
  const view = {
    cards,
    tabs: aspects.map((aspect, i) => button(aspect.title, () => act.goTo(i))),
    title: el("h1", { tabIndex: -1 }),
    text: el("span"),
    ends: el("span"),
    status: el("p", { className: "status", role: "status" }),
    none: button(words["select.none"], () => act.none(), { className: "none" }),
    keys: el("p", { className: "keys" }),
    loading: el("p", { className: "loading", role: "status" }, words.loading),
    play: button("", () => act.play(), { className: "play" }),
    slow: button(words.slow, () => act.slow()),
    larger: button(words.larger, () => act.larger()),
    back: button(words.back, () => act.back()),
    next: button(words.next, () => act.next(), { className: "primary", id: "next" }),
    clips: null,
  };
  view.clips = el("ul", { className: "clips" },
    el("li", { className: "card given" }, el("div", { className: "view" }, still),
      el("p", { className: "bar" }, words.given)),
    cards.map((card) => card.element));
  view.element = el("div", { className: "trial" },
    el("header", {},
      el("div", { className: "line" },
        el("span", {}, filled(words.question_of, { number, total })),
        el("progress", { max: total, value: number - 1, "aria-hidden": "true" })),
      el("nav", { className: "tabs", "aria-label": words.title }, view.tabs),
      view.title,
      el("p", { className: "question" }, view.text, " ", view.ends)),
    el("main", {},
      trial.prompt ? el("p", { className: "prompt" }, filled(words.described, { prompt: trial.prompt })) : null,
      view.loading,
      view.clips,
      el("p", { className: "row" }, view.none),
      el("p", { className: "row controls" }, view.play, button(words.again, () => act.again()), view.slow, view.larger),
      view.keys,
      el("p", { className: "row" },
        button(words.save_now, () => act.saveNow(), { className: "quiet" }),
        button(words.another, () => act.another(), { className: "quiet" }))),
    el("footer", {}, view.back, view.status, view.next));
  return view;
}

function clipCard(words, clip, letter, canvas, act) {
  const badge = el("span", { className: "badge", "aria-hidden": "true" });
  const view = el("button", { type: "button", className: "view", onclick: () => act.tap(clip) }, canvas, badge);
  const choices = el("div", { className: "places", role: "group", "aria-label": filled(words.clip, { letter }) });
  const element = el("li", { className: "card" }, view,
    el("div", { className: "bar" }, el("span", { className: "letter", "aria-hidden": "true" }, letter), choices));
  return { clip, letter, element, view, canvas, badge, choices };
}
