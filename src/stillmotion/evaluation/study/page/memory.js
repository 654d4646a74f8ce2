// Answers survive a reload where the browser allows it, and leave as a file.

// One rater's work: what was answered, by "trial#showing", and where the rater is.
function newSession(rater) {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const session = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { rater, session, step: 0, aspect: 0, saved: false, answers: {} };
}

class Memory {
  constructor(study) {
    this.prefix = `blind-study:${study}:`;
    this.works = this.put("test", true) && this.get("test") === true;
  }

  // Pages from the disk may be refused any storage, by an exception even on naming it.
  get(name) {
    try {
      return JSON.parse(window.localStorage.getItem(this.prefix + name));
    } catch {
      return null;
    }
  }

  put(name, value) {
    try {
      window.localStorage.setItem(this.prefix + name, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  }

  // The session of this rater, or of whoever answered last.
  recall(rater = this.get("last")) {
    return typeof rater === "string" ? this.get(`rater:${rater}`) : null;
  }

  keep(session) {
    this.put(`rater:${session.rater}`, session);
    this.put("last", session.rater);
  }

  leave() {
    this.put("last", null);
  }
}

// Names that only differ in spaces or in how accents are stored are one. Control characters and
// halves of characters, which a paste can bring, would not survive the file.
function tidyName(name) {
  const plain = name.normalize("NFC").replace(/\s+/gu, " ").replace(/[\p{Cc}\p{Cs}]/gu, "");
  return [...plain.trim()].slice(0, 60).join("").trim();
}

function fileName(rater) {
  return `answers-${rater.replace(/[^\p{L}\p{N}._-]+/gu, "-")}.json`;
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
