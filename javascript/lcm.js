// The accordion's talk with its server, and what keyboards and screen readers need and gradio leaves out.
//
// How the talk goes (lib_lcm/webui/page/accordion.py is its other end): gradio calls `changed` for every control that decides something. When the tab
// has been quiet for a moment, the hidden button `ask` is pressed. gradio collects the values of all controls, `asking` puts the question
// before them, and the server's answer sets status line, LoRA list, preset and buttons at once. It also fills the hidden box `exchange`, whose
// change gradio reports to `heard`. One question at a time: what changes meanwhile is asked when the answer has come. A button of the
// accordion that has done its work puts a word into the hidden box `done`, and the page asks anew.
// `data-lcm-settled` is on the page's body while nothing waits for anything.
(function () {
    "use strict";

    const POLLS = [0.5, 1.5, 4, 8, 16, 32]; // seconds between questions while no checkpoint is loaded
    const MOMENT = 50; // ms: of several reasons to ask that come together, the last one asks
    const TYPING_PAUSE = 400; // ms without a change until a text that is typed is asked about
    const LOOK_EVERY = 1000; // ms between two looks at what nothing reports
    const PRESS_LOST = 500; // ms after which a press of `ask` that gradio has not noticed is repeated: a page takes time to be put together
    const ANSWER_LOST = 30000; // ms after which the answer to a question will not come
    const QUIET = 100; // ms without a change after which the page counts as settled
    const UNCHANGED = { __type__: "update" }; // what leaves a component of gradio as it is

    class Tab {
        constructor(name) {
            this.name = name;
            this.question = null; // the token of the question that is being asked
            this.isNoticed = false; // by gradio
            this.isWanted = false; // something has changed since it was asked
            this.timer = 0; // of the next question
            this.isPending = false; // no checkpoint is loaded, by the last answer
            this.polls = 0; // since when
            this.known = null; // what the last answer wants to be told again
            this.moving = null; // what the sliders held that follow the checkpoint's family, when it was asked
            this.problem = null; // of a button or a pasted picture, to be shown until all that came with it is answered
            this.kept = null; // what the WebUI's own controls held while LCM was off
            this.isRefused = false; // by the last answer: a generation would fail
            this.schedule = UNCHANGED; // the schedule when it was last asked
            this.beforePaste = null; // the schedule before a pasted picture of the WebUI's own LCM set another, and that one
        }

        part(name) {
            return gradioApp().querySelector(`#script_${this.name}_lcm_${name}`);
        }

        get isAtRest() {
            return this.question === null && this.timer === 0;
        }

        askIn(milliseconds) {
            clearTimeout(this.timer);
            this.timer = setTimeout(() => this.ask(), milliseconds);
            showSettled();
        }

        ask() {
            clearTimeout(this.timer);
            this.timer = 0;
            this.isWanted = this.question !== null;
            if (this.isWanted) return;
            const question = this.question = `${Date.now()} ${Math.random()}`;
            this.isNoticed = false;
            this.press(question);
            setTimeout(() => { if (this.question === question) this.answered(); }, ANSWER_LOST);
            showSettled();
        }

        press(question) {
            if (this.question !== question || this.isNoticed) return;
            this.part("ask")?.click();
            setTimeout(() => this.press(question), PRESS_LOST);
        }

        // The values that gradio sends, the question in the place of the first: with no token where it was sent already.
        asking(places, exchange, ...values) {
            if (this.isNoticed) return [JSON.stringify({ token: null }), ...values];
            this.isNoticed = true;
            if (this.known === null) this.known = JSON.parse(exchange).known;
            const at = (some) => some.map((place) => values[place]);
            this.kept ??= at(places.overruled);
            this.moving = at(places.moving);
            this.schedule = at(places.schedule)[0];
            const isScaled = gradioApp().querySelector(`#${this.name}_tab_resize_by`)?.style.display === "block"; // A1111 1.6 reports no tabs
            const question = { token: this.question, known: this.known, problem: this.problem, is_scaled: isScaled };
            return [JSON.stringify(question), ...values];
        }

        // An answer: the sliders' new values, save for those that were moved since the question.
        heard(exchange, ...sliders) {
            const { token, known, moved, pending, refused, offer } = JSON.parse(exchange);
            const isOurs = token === this.question;
            const isUntouched = (place) => isOurs && sliders[place] === this.moving[place];
            const values = moved.map((value, place) => (value !== null && isUntouched(place) ? value : UNCHANGED));
            if (isOurs) {
                this.known = known;
                this.isPending = pending;
                this.offerNegative(offer);
                if (refused && !this.isRefused) this.unfold();
                this.isRefused = refused;
                this.answered();
            }
            return values;
        }

        // Why nothing can be drawn is not to be missed because the accordion is folded.
        unfold() {
            const header = this.part("enabled")?.querySelector(".label-wrap");
            if (header && !header.classList.contains("open")) header.click();
        }

        // A button at the negative prompt, while it is ignored; `text` null takes it away.
        offerNegative(text) {
            const field = gradioApp().querySelector(`#${this.name}_neg_prompt`);
            let button = field?.querySelector(".lcm-offer");
            if (!text) button?.remove();
            else if (field) {
                if (!button) {
                    button = document.createElement("button");
                    button.className = "lcm-offer";
                    button.type = "button";
                    button.addEventListener("click", () => this.part("negative").querySelectorAll("input")[1].click()); // Light
                    field.append(button);
                }
                button.textContent = text;
            }
        }

        answered() {
            this.question = null;
            if (this.isWanted) this.ask();
            else if (!this.isPending) this.polls = 0;
            else if (this.polls < POLLS.length) setTimeout(() => { if (this.isPending) this.ask(); }, 1000 * POLLS[this.polls++]);
            showSettled();
        }
    }

    const tabs = { txt2img: new Tab("txt2img"), img2img: new Tab("img2img") };
    const both = Object.values(tabs);
    let seen = null; // of the WebUI, when last looked at
    let isNew = false; // it has changed since it was last asked about
    let quiet = 0; // the timer until the page counts as settled

    function showSettled() {
        clearTimeout(quiet);
        if (isNew || !both.every((tab) => tab.isAtRest)) document.body.removeAttribute("data-lcm-settled");
        else quiet = setTimeout(settle, QUIET);
    }

    function settle() {
        document.body.setAttribute("data-lcm-settled", "");
        both.forEach((tab) => {
            tab.problem = null;
            announce(tab);
        });
    }

    // --- what gradio calls ---------------------------------------------------------------------------------------------------

    window.lcmPage = {
        changed(tab, isTyped) { tabs[tab].askIn(isTyped ? TYPING_PAUSE : MOMENT); },
        asking(tab, places, ...values) { return tabs[tab].asking(places, ...values); },
        // What the WebUI's own controls of steps, CFG scale and sampler hold is the user's while LCM is off.
        held(tab, isOn, ...values) { if (!isOn) tabs[tab].kept = values; },

        heard(tab, ...values) { return tabs[tab].heard(...values); },

        // A button of the accordion has done its work, or has a problem.
        done(tab, word) {
            tabs[tab].problem = JSON.parse(word).problem;
            tabs[tab].ask();
        },

        // A preset sets other controls when the user picks it, and not when an answer says which one they stand at: gradio 4 reports both.
        picked(tab, steps, picked, exchange) {
            return (picked !== JSON.parse(exchange).preset && steps[picked]) || UNCHANGED;
        },
        pickedNegative(tab, bySteps, picked, exchange, steps) {
            return (picked !== JSON.parse(exchange).negative && bySteps[steps]?.[picked]) || [UNCHANGED, UNCHANGED];
        },

        // A picture was pasted. What one made with LCM has written into the WebUI's own controls is not the user's. The schedule that was set for
        // one of the WebUI's own LCM is taken back with the next one. Returns the schedule, then the WebUI's own controls.
        pasted(tab, count, pasted, schedule) {
            const it = tabs[tab];
            const { is_lcm: isLcm, schedule: chosen, note } = JSON.parse(pasted);
            const isSet = (shown) => it.beforePaste !== null && shown === it.beforePaste.chosen;
            const back = chosen === null && !isLcm && isSet(schedule) ? it.beforePaste.schedule : UNCHANGED;
            if (chosen === null) it.beforePaste = null;
            else if (!isSet(it.schedule)) it.beforePaste = { schedule: it.schedule, chosen };
            if (note) {
                it.problem = note;
                it.askIn(MOMENT);
            }
            return [back, ...(isLcm && it.kept ? it.kept : Array(count).fill(UNCHANGED))];
        },
    };

    // --- what nothing reports ------------------------------------------------------------------------------------------------

    // The checkpoint that is selected and the one that is loaded, as far as the page knows, and the settings of LCM.
    // Forge loads what is selected when a generation begins, and does not tell the page; --no-hashing leaves the hash out.
    function ofWebui() {
        const settings = typeof opts === "undefined" ? {} : opts;
        const names = ["sd_model_checkpoint", "sd_checkpoint_hash", ...Object.keys(settings).filter((name) => name.startsWith("lcm_")).sort()];
        const shown = [...gradioApp().querySelectorAll("#quicksettings :is(input, textarea, select)")].map((control) => control.value);
        return JSON.stringify([names.map((name) => [name, settings[name]]), shown]);
    }

    // What is just being typed is waited for, until it is the same at two looks.
    function look(mayBeTyped = true) {
        const now = ofWebui();
        const isAtRest = now === seen;
        isNew = isNew || !isAtRest;
        seen = now;
        if (isNew && (isAtRest || !mayBeTyped)) {
            isNew = false;
            both.forEach((tab) => tab.ask());
        }
        showSettled();
    }

    // While a generation runs, its own settings are those of the WebUI. It may have loaded the checkpoint, also where it is refused or fails.
    function followRuns(tab) {
        const button = gradioApp().querySelector(`#${tab.name}_interrupt`); // shown as long as one runs
        if (!button) return;
        whenRestyled(button, () => {
            if (button.style.display === "block") return;
            both.forEach((other) => { if (other === tab || other.isPending) other.askIn(MOMENT); });
        });
    }

    // The size that img2img's "Resize by" comes to: A1111 1.6 reports no tabs, and gradio 4 reports a text anew with every event of the page.
    function followSize() {
        const resizeBy = gradioApp().querySelector("#img2img_tab_resize_by");
        const preview = gradioApp().querySelector("#img2img_scale_resolution_preview");
        if (resizeBy) whenRestyled(resizeBy, () => tabs.img2img.askIn(0));
        let before = preview?.textContent;
        const look = () => {
            if (preview.textContent !== before) tabs.img2img.askIn(MOMENT);
            before = preview.textContent;
        };
        if (preview) new MutationObserver(look).observe(preview, { childList: true, characterData: true, subtree: true });
    }

    function whenRestyled(element, act) {
        new MutationObserver(act).observe(element, { attributes: true, attributeFilter: ["style"] });
    }

    // --- keyboards and screen readers ----------------------------------------------------------------------------------------

    // Screen readers are told what the accordion says when that has changed, and not after every picture: it is put into the page anew
    // with each answer.
    function announce(tab) {
        const accordion = tab.part("enabled");
        if (!accordion) return;
        let region = accordion.querySelector(".lcm-announced");
        if (!region) {
            region = document.createElement("div");
            region.className = "lcm-announced";
            region.setAttribute("aria-live", "polite");
            accordion.append(region);
        }
        const parts = accordion.querySelectorAll(".lcm-plan, .lcm-warnings > li");
        const text = Array.from(parts, (part) => part.textContent).join(" ");
        if (accordion.offsetParent !== null && region.textContent !== text) region.textContent = text;
    }

    // gradio 3 folds an accordion by a click on its header alone
    function makeFoldable(header, name) {
        const arrow = header.querySelector(".icon");
        if (!arrow || header.nodeName === "BUTTON") return;
        const show = () => arrow.setAttribute("aria-expanded", String(header.classList.contains("open")));
        arrow.tabIndex = 0;
        arrow.setAttribute("role", "button");
        arrow.setAttribute("aria-label", name);
        arrow.addEventListener("keydown", function (event) {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            header.click();
        });
        new MutationObserver(show).observe(header, { attributes: true, attributeFilter: ["class"] });
        show();
    }

    function makeReachable(tab) {
        const accordion = tab.part("enabled");
        const header = accordion && accordion.querySelector(".label-wrap");
        if (!header) return;
        const tick = header.querySelector("input[type=checkbox]");
        if (tick) tick.setAttribute("aria-label", "LCM"); // the WebUI puts a nameless one into the header
        makeFoldable(header, "LCM");
        for (const part of ["more", "advanced"]) {
            const inner = tab.part(part)?.querySelector(".label-wrap");
            if (inner) makeFoldable(inner, inner.querySelector("span").textContent);
        }
        for (const number of accordion.querySelectorAll("input[type=number]")) { // a slider's label names its other half alone
            const slider = number.closest("[id^=script_]");
            const label = slider && slider.querySelector("[data-testid=block-info]");
            if (!label) continue;
            label.id = label.id || `${slider.id}_label`;
            number.setAttribute("aria-labelledby", label.id);
        }
        for (const group of accordion.querySelectorAll("fieldset")) { // of radio buttons, which gradio gives no name
            const label = group.querySelector("[data-testid=block-info]");
            if (label) group.setAttribute("aria-label", label.textContent.trim());
        }
        const button = tab.part("refresh");
        if (button && button.title) button.setAttribute("aria-label", button.title); // its text is a symbol
    }

    onUiLoaded(function () {
        if (!tabs.txt2img.part("enabled")) return; // LCM has stepped aside
        seen = ofWebui();
        both.forEach((tab) => tab.ask());
        setTimeout(() => both.forEach(makeReachable), 0); // when the WebUI's own scripts have put in tick and tooltips
        both.forEach(followRuns);
        followSize();
        setInterval(look, LOOK_EVERY);
        // while another page was looked at, a checkpoint or a setting may have been changed there
        document.addEventListener("visibilitychange", () => { if (!document.hidden) both.forEach((tab) => tab.ask()); });
    });
    onOptionsChanged(() => { if (seen !== null) look(false); });
})();
