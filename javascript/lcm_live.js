// Live mode: while "Live" is ticked, a new picture follows what is typed, dragged or drawn.
//
// It looks at the values of the page's controls, and presses the WebUI's own Generate when they have changed and then stayed as they are
// for a moment: one run at a time, always with the latest values, never while an input method is composing. The run's task has a name of
// its own, by which lib_lcm/webui/page/live.py knows that nothing of it is to be saved, and by which this file knows its picture.
(function () {
    "use strict";

    const LOOK_EVERY = 100; // ms between two looks at the page
    const ASK_EVERY = 300; // ms between two questions about the run
    const PICTURE_OVERDUE = 1500; // ms: a run that is over and has shown no picture by then failed, or was taken back
    const PRESS_OVERDUE = 5000; // ms in which the page was awake: on a slow machine it can stand still for longer, and then deals with the press
    const UNKNOWN_OVERDUE = 10000; // ms in which gradio has passed on whatever it neither refuses nor holds back
    const SEEDS = 4294967294; // as many as the WebUI draws from
    const STOP = "./internal/lcm/live-stop"; // live.STOP_ROUTE
    const DEFAULTS = { lcm_live_debounce: 0.3, lcm_live_patience: 4 }; // seconds; the settings of the same names
    const FUNCTIONS = ["submit", "submit_img2img", "randomId", "requestProgress", "showSubmitButtons", "updateInput"];
    // Controls of the accordion that decide nothing: Live itself, the presets, which follow the sliders a moment later, and the hidden boxes of
    // lib_lcm/webui/page/accordion.py, which change by themselves.
    const NO_SETTINGS = ["live", "quality", "exchange", "done", "pasted"].map((name) => `[id$=_lcm_${name}]`).join(",");
    const NOTE = "\u00a0\u00b7\u00a0"; // options.ENTRY_SEPARATOR: what follows it in the LCM-LoRA's drop-down is said by the page, not chosen

    const TEXT = {
        unavailable: "Live does not work in this WebUI: its page lacks functions that Live needs.",
        needsLcm: "Live waits: tick LCM.",
        refused: "Live waits: nothing can be drawn.",
        script: "Live waits: a script is chosen.",
        picture: "Live waits for a picture.",
        batch: "Live waits: it does not draw batches.",
        busy: "Live waits for another picture to finish.",
        queued: "Live is in the queue.",
        drawing: "Live is drawing.",
        failed: "No picture came; see below the gallery.",
        press: "Generate did not answer.",
        ready: "Live: not saved; Generate keeps it",
        seed: "seed",
        draft: "draft",
    };

    let composing = false;
    let touched = true; // the user has done something since a run was started; without it, what changes is the WebUI's own doing
    let strokes = 0; // in pictures, where no control has the value
    let others = 0; // tasks of this page that are not live ones
    let gesture = null; // what others have pressed and the page is dealing with

    const $ = (selector) => gradioApp().querySelector(selector);
    const now = () => performance.now();

    function setting(name) {
        const value = typeof opts === "undefined" ? undefined : Number(opts[name]);
        return 1000 * (Number.isFinite(value) && value >= 0 ? value : DEFAULTS[name]);
    }

    function valueOf(control) {
        if (control.type === "checkbox" || control.type === "radio") return control.checked ? "on" : "off";
        return control.value;
    }

    // One by one, so that a picture of many megabytes is not copied with each look.
    function areSame(values, before) {
        return before !== null && values.length === before.length && values.every((value, index) => value === before[index]);
    }

    // A run of a live picture.
    class Run {
        constructor(session, number) {
            this.file = `lcm-live-${session}-${number}.`; // "png", or "draft.png" where the VAE did not decode it
            this.task = `task(lcm-live-${session}-${number})`;
            this.began = now();
            this.asked = this.began;
            this.submittedAt = null; // when gradio has dealt with the press
            this.lookedAt = this.began;
            this.awake = 0; // ms that the page has been since then, as far as looks at it tell
            this.isQueued = false;
            this.wasKnown = false; // to the WebUI
            this.isStopped = false;
            this.overSince = null;
            this.atEnd = null; // what the WebUI wants to be called at the end
        }

        ask() {
            if (this.submittedAt === null || now() - this.asked < ASK_EVERY) return;
            this.asked = Infinity; // not again before the answer
            post("./internal/progress", { id_task: this.task, live_preview: false }).then((state) => {
                const isWaited = state.active || state.queued;
                this.wasKnown = this.wasKnown || isWaited || state.completed;
                // where gradio holds presses back, the WebUI does not know of a run that waits for another page's
                this.isQueued = state.queued || !this.wasKnown;
                const isRefused = !holdsBack() && now() - this.submittedAt >= UNKNOWN_OVERDUE;
                const isOver = state.completed || (!isWaited && (this.wasKnown || this.isStopped || isRefused));
                if (!isOver) this.overSince = null;
                else if (this.overSince === null) this.overSince = now();
            }, () => {
                if (this.overSince === null) this.overSince = now(); // the server is gone
            }).finally(() => { this.asked = now(); });
        }

        stop(alsoRunning, filesKept) {
            post(STOP, { task: this.task, also_running: alsoRunning, files_kept: filesKept }).catch(() => {});
        }
    }

    // Whether gradio holds back a press while it deals with another one, without a word to the WebUI.
    function holdsBack() {
        return $("[data-lcm-holds-back]") !== null; // live.create_controls
    }

    function post(address, body) {
        const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), keepalive: true };
        return fetch(address, request).then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.status))));
    }

    // One of the tabs txt2img and img2img.
    class LiveTab {
        constructor(name) {
            this.name = name;
            this.session = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => (byte % 36).toString(36)).join("");
            this.runs = 0; // so far
            this.isOn = false;
            this.run = null;
            this.last = null; // run, going on or over
            this.pressing = null; // while Generate is clicked: { run }, a run of null for an ordinary press
            this.unanswered = []; // runs whose press the page has not dealt with
            this.isWanted = false; // Generate was pressed during a run, when gradio 3 does not listen
            this.values = null; // of the page's controls, when last looked at
            this.drawn = null; // those of the last run
            this.changed = 0; // when they became what they are
            this.waiting = null; // since when values have been ready while a run was going on
            this.held = {}; // field -> the seed that stands for a random one
            this.note = "";
            this.seconds = null;
            this.chosen = new WeakMap(); // control -> its value when it was not open, for drop-downs
        }

        isTicked() {
            const tick = $(`#script_${this.name}_lcm_live input[type=checkbox]`);
            return tick !== null && tick.checked;
        }

        look() {
            const ticked = this.isTicked();
            if (ticked && !this.isOn) this.switchOn();
            if (!ticked && this.isOn) this.switchOff();
            if (this.run) this.follow();
            if (!this.isOn) return;
            const obstacle = this.obstacle();
            if (!obstacle) this.consider();
            if (obstacle === "needsLcm") this.giveSeedsBack();
            this.say(obstacle);
        }

        switchOn() {
            this.isOn = true;
            this.drawn = this.values = null;
            touched = true;
        }

        // Nothing is left behind: a run that waits in the queue is taken back, one that is being drawn comes to its end, and of the
        // pictures' files only the one that the gallery shows stays, for "Send to".
        switchOff() {
            this.isOn = false;
            this.waiting = null;
            this.leave(1);
            this.giveSeedsBack();
            this.note = "";
            this.seconds = null;
            this.say(null);
        }

        // What stands for a random seed would be the seed of every later picture.
        giveSeedsBack() {
            for (const [field, value] of Object.entries(this.held)) {
                const input = this.seedInput(field);
                if (input && input.value === value) setValue(input, "-1");
            }
            this.held = {};
        }

        leave(filesKept) {
            if (this.last) this.last.stop(false, filesKept);
        }

        // Why no run may be started whatever the values are, or null.
        obstacle() {
            if (!FUNCTIONS.every((name) => typeof window[name] === "function")) return "unavailable";
            const lcm = $(`#script_${this.name}_lcm_enabled-checkbox input`);
            if (!lcm || !lcm.checked) return "needsLcm";
            if ($(`#script_${this.name}_lcm_status .lcm-refusal`)) return "refused";
            const script = $(`#tab_${this.name} #script_list input`);
            if (script && script.value && script.value !== "None") return "script";
            if (this.name === "img2img") {
                // by its own style: all of them are hidden while the extra networks are looked at
                const mode = [...gradioApp().querySelectorAll("#mode_img2img > .tabitem")].find((item) => item.style.display !== "none");
                if (mode && mode.id.includes("batch")) return "batch";
                if (mode && !hasPicture(mode)) return "picture";
            }
            return null;
        }

        consider() {
            if (composing || document.hidden || !this.isInFront()) return;
            if (!this.holdSeeds()) return;
            const values = this.read();
            if (!areSame(values, this.values)) {
                this.values = values;
                this.changed = now();
            }
            const isNew = touched && !areSame(values, this.drawn);
            const wait = setting("lcm_live_debounce") - (now() - this.changed);
            const isReady = isNew && wait <= 0;
            if (isNew && wait > 0 && wait < LOOK_EVERY) setTimeout(() => this.look(), wait + 1); // not later than that
            if (!isNew) this.waiting = null;
            if (!this.run) {
                if (isReady && others === 0) this.start(values);
            } else if (isReady || this.waiting !== null) {
                if (this.waiting === null) this.waiting = now();
                if (!this.run.isStopped && now() - this.waiting >= setting("lcm_live_patience")) {
                    this.run.isStopped = true;
                    this.run.stop(true);
                }
            }
        }

        isInFront() {
            const tab = $(`#tab_${this.name}`);
            return tab !== null && tab.style.display !== "none";
        }

        // All that decides what the picture looks like, as texts.
        read() {
            const within = "input:not([type=file]), textarea, select";
            const places = [`#${this.name}_prompt`, `#${this.name}_neg_prompt`, `#${this.name}_styles`, `#${this.name}_settings`, "#quicksettings"];
            const values = [String(strokes)];
            for (const place of places) {
                const element = $(place);
                if (!element) continue;
                for (const control of element.querySelectorAll(within)) {
                    if (control.disabled || control.closest(NO_SETTINGS)) continue;
                    const value = this.valueOf(control);
                    values.push(control.closest("[id$=_lcm_lora]") ? value.split(NOTE)[0] : value);
                }
                for (const token of element.querySelectorAll(".token")) values.push(token.textContent);
                for (const image of element.querySelectorAll("img[src]")) values.push(image.getAttribute("src"));
            }
            return values;
        }

        // What is typed into a drop-down looks for a value, and is none: while it is open, its value is the one before.
        valueOf(control) {
            const isOpen = (control.getAttribute("role") === "listbox" && control.getAttribute("aria-expanded") === "true")
                || control.closest(".wrap-inner.showOptions") !== null; // gradio 4; gradio 3
            if (!isOpen) this.chosen.set(control, valueOf(control));
            return this.chosen.has(control) ? this.chosen.get(control) : valueOf(control);
        }

        seedInput(field) {
            return $(`#${this.name}_${field} :is(input, textarea)`);
        }

        // A random seed is drawn once and shown where it would be typed. -1 again, by the WebUI's dice, means another one. False while the
        // user is typing a seed and it is a random one so far.
        holdSeeds() {
            const variation = $(`#${this.name}_subseed_show input`);
            for (const field of variation && variation.checked ? ["seed", "subseed"] : ["seed"]) {
                const input = this.seedInput(field);
                if (!input) continue;
                if (input.value !== this.held[field]) delete this.held[field]; // the user has chosen one
                if (!["", "-1"].includes(input.value.trim())) continue;
                if (document.activeElement === input) return false;
                this.held[field] = String(Math.floor(Math.random() * SEEDS));
                setValue(input, this.held[field]);
            }
            return true;
        }

        start(values) {
            this.runs += 1;
            this.run = this.last = new Run(this.session, this.runs);
            this.drawn = values;
            this.waiting = null;
            gesture = null; // this is later
            this.unanswered.push(this.run);
            this.press(this.run);
            touched = false; // only now: the press is a click too
        }

        press(run) {
            this.pressing = { run };
            $(`#${this.name}_generate`).click();
            this.pressing = null;
        }

        // The live run that a call of the WebUI's submit is of, null for an ordinary one. gradio 3 makes the call within the click, gradio 4
        // some time later. So one that is within no click, ours or the user's, is of a live press that had to wait, however long.
        submitted() {
            if (!this.pressing && !gesture) return this.unanswered.shift() || null;
            const run = this.pressing && this.pressing.run;
            if (run) this.unanswered = []; // those before it got lost
            return run;
        }

        follow() {
            const run = this.run;
            if (run.submittedAt === null) {
                run.awake += Math.min(now() - run.lookedAt, 2 * LOOK_EVERY);
                run.lookedAt = now();
                if (run.awake < PRESS_OVERDUE) return;
                run.stop(false); // should the page deal with it after all
                this.finish("press");
                return;
            }
            const image = $(`#${this.name}_gallery img[src*="${run.file}"]`);
            if (image && image.complete) {
                this.seconds = (now() - run.began) / 1000;
                this.finish("");
            } else if (run.overSince !== null && now() - run.overSince >= PICTURE_OVERDUE) {
                if (!run.wasKnown) run.stop(false); // should it come after all
                this.finish(run.isStopped ? "" : "failed");
            } else {
                run.ask();
            }
        }

        finish(note) {
            const run = this.run;
            this.run = null;
            this.waiting = null;
            this.note = note;
            if (run.atEnd) run.atEnd();
            if (this.isWanted) this.press(null);
            this.isWanted = false;
            if (this.isOn) this.look();
        }

        state() {
            if (this.run) return this.run.isQueued ? "queued" : "drawing";
            return others > 0 ? "busy" : this.note || "ready";
        }

        say(obstacle) {
            const line = $(`#script_${this.name}_lcm_live_status .lcm-live-status`);
            if (!line) return;
            const parts = [];
            if (this.isOn) {
                parts.push(TEXT[obstacle || this.state()]);
                if (!obstacle && "seed" in this.held) parts.push(TEXT.seed, this.held.seed);
                if (!obstacle && this.seconds !== null) parts.push(`${this.seconds.toFixed(1)} s`);
                if ($(`#${this.name}_gallery img[src*="lcm-live-${this.session}-"][src*=".draft.png"]`)) parts.push(TEXT.draft);
            }
            if (line.dataset.parts === parts.join("\n")) return;
            line.dataset.parts = parts.join("\n");
            // to screen readers, why nothing is drawn, and not the progress of each picture
            line.setAttribute("aria-live", obstacle || ["failed", "press"].includes(this.state()) ? "polite" : "off");
            line.replaceChildren();
            parts.forEach((part, index) => {
                if (index > 0) line.append(parts[index - 1] === TEXT.seed ? " " : " · ");
                const span = document.createElement("span"); // each text on its own, for the WebUI's localisation
                span.textContent = part;
                line.append(span);
            });
        }
    }

    // Forge's editor has its canvas and an <img> without a picture too; gradio's are there when there is one.
    function hasPicture(mode) {
        const editor = mode.querySelector(".forge-container");
        return (editor || mode).querySelector(editor ? "img[src]:not([src=''])" : "img[src]:not([src='']), canvas") !== null;
    }

    function setValue(input, value) {
        input.value = value;
        updateInput(input);
    }

    // The WebUI's function that names the task and shows its progress. A live run gets its own name, and neither a progress bar nor the
    // buttons in the place of Generate, which would come and go with every picture.
    function wrapSubmit(name, tab) {
        const original = window[name];
        window[name] = function () {
            const run = tab.submitted();
            if (!run) {
                tab.isWanted = false;
                if (tab.isOn) tab.drawn = tab.values = tab.read();
                return original.apply(this, arguments);
            }
            const { randomId, requestProgress, showSubmitButtons } = window;
            window.randomId = () => run.task;
            window.requestProgress = (task, container, gallery, atEnd) => { run.atEnd = atEnd; };
            window.showSubmitButtons = () => {};
            try {
                return original.apply(this, arguments);
            } finally {
                Object.assign(window, { randomId, requestProgress, showSubmitButtons });
                run.submittedAt = now();
                run.asked = now();
                if (run !== tab.run && run.atEnd) run.atEnd(); // nobody waits for it any more
            }
        };
    }

    // Counts the page's other tasks, with which live runs must not get mixed up.
    function wrapRequestProgress() {
        const original = window.requestProgress;
        window.requestProgress = function (task, container, gallery, atEnd, ...rest) {
            others += 1;
            let isOver = false;
            return original.call(this, task, container, gallery, function () {
                if (!isOver) others -= 1;
                isOver = true;
                return atEnd.apply(this, arguments);
            }, ...rest);
        };
    }

    function listen(tabs) {
        const look = () => tabs.forEach((tab) => tab.look());
        const onTouch = () => {
            touched = true;
            setTimeout(look, 0); // when the page has dealt with the event
        };
        for (const kind of ["input", "change", "keydown", "pointerup", "click", "drop", "paste"]) {
            document.addEventListener(kind, onTouch, { capture: true, passive: true });
        }
        document.addEventListener("compositionstart", () => { composing = true; }, true);
        document.addEventListener("compositionend", () => { composing = false; onTouch(); }, true);
        // A stroke, which may end outside, or a button of a picture's editor. Forge's editor writes its picture into a text field instead.
        let isStroke = false;
        document.addEventListener("pointerdown", (event) => {
            const isEditor = event.target.closest && event.target.closest("#img2img_settings :is(canvas, [data-testid=image], .image-container)");
            isStroke = Boolean(isEditor) && !event.target.closest(".forge-container");
        }, true);
        document.addEventListener("pointerup", () => {
            if (isStroke) setTimeout(() => { strokes += 1; }, 0);
            isStroke = false;
        }, true);
        // What makes an ordinary picture: a click or Enter of the user's, or Generate clicked by another extension.
        const onPress = (event) => {
            const tab = event.type === "click" && event.target.closest && tabs.find(({ name }) => event.target.closest(`#${name}_generate`));
            if (tab ? tab.pressing : !event.isTrusted) return;
            gesture = event;
            setTimeout(() => { if (gesture === event) gesture = null; }, 0);
            if (tab && tab.run) tab.isWanted = true;
        };
        window.addEventListener("click", onPress, true);
        window.addEventListener("keydown", (event) => { if (event.key === "Enter") onPress(event); }, true);
        window.addEventListener("pagehide", (event) => tabs.forEach((tab) => tab.leave(event.persisted ? 1 : 0))); // persisted: it may come back
        for (const tab of tabs) {
            const results = $(`#${tab.name}_results`);
            // `load` does not bubble, but it is captured
            if (results) results.addEventListener("load", () => { if (tab.run) tab.look(); }, true);
        }
        setInterval(look, LOOK_EVERY);
    }

    onUiLoaded(function () {
        if (!gradioApp().querySelector("#script_txt2img_lcm_enabled")) return; // LCM has stepped aside
        const tabs = [new LiveTab("txt2img"), new LiveTab("img2img")];
        if (FUNCTIONS.every((name) => typeof window[name] === "function")) {
            wrapRequestProgress();
            wrapSubmit("submit", tabs[0]);
            wrapSubmit("submit_img2img", tabs[1]);
        }
        listen(tabs);
    });
})();
