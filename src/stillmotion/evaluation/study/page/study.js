// The study itself: one rater, one question after the other.

const study = JSON.parse(document.getElementById("study").textContent);
const { words } = study;
const trials = new Map(study.trials.map((trial) => [trial.id, trial]));
const aspects = study.aspects.map((aspect) => ({
  ...aspect,
  title: words[`${aspect.key}.title`],
  question: words[`${aspect.key}.question`],
}));
const memory = new Memory(study.study);
const root = document.getElementById("page");

let session = null; // of the rater who answers
let steps = []; // what this rater sees
let view = null; // the question on the screen, null on the first and last screen
let chosen = null; // the clip that was chosen last: digits are about it
let large = false;
let sinceKept = 0;

const player = new Player((seconds, loops) => {
  const given = answerOf(session, steps[session.step]);
  given.seconds += seconds;
  given.loops += loops;
  sinceKept += seconds;
  if (sinceKept > 5) keep();
});

const step = () => steps[session.step];
const aspect = () => aspects[session.aspect];
const choice = () => answerOf(session, step()).choices[aspect().key];
const isDone = () => KINDS[aspect().kind].isDone(choice());

function keep() {
  sinceKept = 0;
  if (session) memory.keep(session);
}

function show(screen) {
  root.replaceChildren(screen);
  root.querySelector("h1").focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function leaveTrial() {
  player.stop();
  view = null;
  chosen = null;
}

function showStart(rater = "") {
  leaveTrial();
  session = null;
  show(startScreen(words, { rater, remembers: memory.works, onStart: begin }));
  root.querySelector("#rater").focus();
}

function begin(rater) {
  open(memory.recall(rater) ?? newSession(rater));
}

function open(opened) {
  session = opened;
  steps = stepsFor(study, session.rater);
  keep();
  if (session.step < steps.length) showTrial();
  else showEnd();
}

function showEnd() {
  leaveTrial();
  const done = steps.filter((each) => isAnswered(study, session, each)).length;
  show(endScreen(words, {
    done, total: steps.length, session, remembers: memory.works,
    text: JSON.stringify(answersFile(study, session, steps)),
    onSave: save,
    onBack: () => goTo(steps.length - 1, aspects.length - 1),
    onAnother: () => another(session.saved),
  }));
}

// What is kept under the present rater's name is found again when the name is typed again.
function another(isSafe) {
  if (!isSafe && !window.confirm(words.another_sure)) return;
  memory.leave();
  showStart();
}

function save() {
  const text = JSON.stringify(answersFile(study, session, steps), null, 1);
  download(fileName(session.rater), `${text}\n`);
  session.saved = true;
  keep();
}

// To a question and one of its aspects; behind the last question is the end.
function goTo(stepIndex, aspectIndex) {
  const sameTrial = view !== null && stepIndex === session.step;
  session.step = stepIndex;
  session.aspect = aspectIndex;
  keep();
  if (stepIndex >= steps.length) showEnd();
  else if (sameTrial) {
    chosen = null;
    ask();
    view.title.focus({ preventScroll: true });
  } else showTrial();
}

function goOn() {
  if (!isDone()) return;
  if (session.aspect + 1 < aspects.length) goTo(session.step, session.aspect + 1);
  else goTo(session.step + 1, 0);
}

function goBack() {
  if (session.aspect > 0) goTo(session.step, session.aspect - 1);
  else if (session.step > 0) goTo(session.step - 1, aspects.length - 1);
}

function answer(value) {
  answerOf(session, step()).choices[aspect().key] = value;
  session.saved = false;
  keep();
  refresh();
}

const act = {
  tap(clip) {
    chosen = clip;
    answer(KINDS[aspect().kind].tap(choice(), clip, step().order));
  },
  give(clip, place) {
    chosen = clip;
    answer(KINDS.rank.give(choice(), clip, place, step().order));
  },
  none: () => answer(choice()?.length === 0 ? undefined : []),
  goTo: (index) => canReach(index) && goTo(session.step, index),
  back: goBack,
  next: goOn,
  saveNow() {
    save();
    view.status.textContent = filled(words.saved, { file: fileName(session.rater) });
  },
  another: () => another(session.saved || memory.works),
  play() {
    player.playing = !player.playing;
    refreshControls();
  },
  again: () => player.restart(),
  slow() {
    player.speed = player.speed === 1 ? 0.5 : 1;
    refreshControls();
  },
  larger() {
    large = !large;
    refreshControls();
  },
};

function showTrial() {
  const trial = trials.get(step().trial);
  chosen = null;
  view = trialScreen(words, {
    study, trial, step: step(), number: session.step + 1, total: steps.length, aspects, act,
  });
  ask();
  refreshControls();
  show(view.element);
  const shown = view;
  const strips = new Map(trial.clips.map((clip) => [clip.id, clip.strip]));
  player
    .load(trial.frames, step().order.map((id) => strips.get(id)), view.cards.map((c) => c.canvas))
    .then((ready) => { if (ready) shown.loading.hidden = true; })
    .catch(() => { shown.loading.textContent = words.broken; });
}

// Put the words and buttons of the present aspect on the screen.
function ask() {
  const { kind, title, question } = aspect();
  const last = step().order.length;
  view.title.textContent = title;
  view.text.textContent = question;
  view.ends.textContent = kind === "rank" ? filled(words["rank.ends"], { last }) : "";
  view.none.hidden = kind !== "select";
  view.keys.textContent = kind === "select" ? words.keys_select : words.keys;
  for (const card of view.cards) {
    const buttons = kind === "rank"
      ? step().order.map((_, place) => button(String(place + 1), () => act.give(card.clip, place), {
          "aria-label": filled(words["rank.place"], { place: place + 1 }),
        }))
      : [button(words[`${kind}.action`], () => act.tap(card.clip))];
    card.choices.replaceChildren(...buttons);
    card.view.setAttribute("aria-label",
      filled(words.choose, { letter: card.letter, action: words[`${kind}.action`] }));
  }
  refresh();
}

// Show what is answered.
function refresh() {
  const { kind } = aspect();
  const given = choice();
  for (const card of view.cards) {
    const place = given ? given.indexOf(card.clip) : -1;
    card.element.classList.toggle("chosen", place >= 0);
    card.view.setAttribute("aria-pressed", String(place >= 0));
    card.badge.textContent = place < 0 ? "" : kind === "rank" ? String(place + 1) : "✓";
    [...card.choices.children].forEach((each, i) => {
      each.setAttribute("aria-pressed", String(kind === "rank" ? i === place : place >= 0));
    });
  }
  view.none.setAttribute("aria-pressed", String(given?.length === 0));
  view.status.textContent = statusText(kind, given);
  view.next.disabled = !isDone();
  view.back.disabled = session.step === 0 && session.aspect === 0;
  view.tabs.forEach((tab, i) => {
    const { key, kind: its } = aspects[i];
    const done = KINDS[its].isDone(answerOf(session, step()).choices[key]);
    tab.classList.toggle("done", done);
    tab.disabled = !canReach(i);
    if (i === session.aspect) tab.setAttribute("aria-current", "step");
    else tab.removeAttribute("aria-current");
  });
}

function statusText(kind, given) {
  if (!KINDS[kind].isDone(given)) return words[`${kind}.todo`];
  const letters = given.map((clip) => letterOf(step().order.indexOf(clip)));
  const order = letters.join(kind === "rank" ? " > " : ", ") || words.none;
  return filled(words[`${kind}.done`], { order });
}

// An aspect can be opened when all before it are answered.
function canReach(index) {
  const { choices } = answerOf(session, step());
  return aspects.slice(0, index).every(({ key, kind }) => KINDS[kind].isDone(choices[key]));
}

function refreshControls() {
  view.play.textContent = player.playing ? words.pause : words.play;
  view.slow.setAttribute("aria-pressed", String(player.speed !== 1));
  view.larger.setAttribute("aria-pressed", String(large));
  view.clips.classList.toggle("large", large);
}

document.addEventListener("keydown", (event) => {
  if (!view || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const letter = view.cards.find((card) => card.letter.toLowerCase() === event.key.toLowerCase());
  const digit = /^[0-9]$/.test(event.key) ? Number(event.key) : null;
  if (letter) act.tap(letter.clip);
  else if (digit === 0 && aspect().kind === "select") act.none();
  else if (digit && digit <= step().order.length && chosen && aspect().kind === "rank") {
    act.give(chosen, digit - 1);
  } else if (event.key === "ArrowRight") goOn();
  else if (event.key === "ArrowLeft") goBack();
  else if (event.key.toLowerCase() === "p") act.play();
  else return;
  event.preventDefault();
});

document.addEventListener("focusin", (event) => {
  const card = view?.cards.find((each) => each.element.contains(event.target));
  if (card) chosen = card.clip;
});

window.addEventListener("pagehide", keep);
document.addEventListener("visibilitychange", () => document.hidden && keep());
window.addEventListener("beforeunload", (event) => {
  const begun = session && Object.keys(session.answers).length > 0;
  if (begun && !session.saved && !memory.works) event.preventDefault();
});

const unfinished = memory.recall();
if (unfinished) open(unfinished);
else showStart();
