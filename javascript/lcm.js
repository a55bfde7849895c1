// What must happen in the page: the accordion speaks of the checkpoint and of the settings, so it is asked for again when the page has loaded,
// while the WebUI is still loading its first checkpoint, and when one of these changes. And the accordion gets what keyboards and screen
// readers need and gradio leaves out. Everything else works without this file.
(function () {
    const tabs = ["txt2img", "img2img"];
    const waits = [0.5, 1.5, 2, 4, 8, 16, 32]; // seconds until the next click
    const inAnyCase = 2; // of them: a click while the page is still being put together is lost
    const pending = ".lcm-status[data-lcm-pending]"; // no checkpoint is loaded
    const unanswered = `.lcm-status[data-lcm-fresh], ${pending}`; // the first: nothing has come yet
    const lookEvery = 1; // seconds, at what the accordion depends on and nothing tells of
    let seen = null; // of the WebUI, when last looked at
    let isNew = false; // it has changed since the last refresh
    let pendings = 0; // tabs on which no checkpoint was loaded, when last looked at
    let next = 0; // the timer of the next click

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
            refresh(0);
        }
        const before = pendings;
        pendings = gradioApp().querySelectorAll(pending).length;
        if (pendings < before) refresh(0); // a generation has loaded it, of which its tab's line alone has heard
        tabs.forEach(announce);
    }

    // A generation that is refused has loaded the checkpoint too, and then not even the line hears of it.
    function refreshAfterRuns(tab) {
        const button = gradioApp().querySelector(`#${tab}_interrupt`); // there as long as one runs
        if (!button) return;
        const whenOver = () => { if (button.style.display !== "block" && gradioApp().querySelector(pending)) refresh(0); };
        new MutationObserver(whenOver).observe(button, { attributes: true, attributeFilter: ["style"] });
    }

    // img2img's "Resize by" is opened or closed, which A1111 1.6 tells nobody of.
    function refreshWhenKindOfSizeChanges() {
        const resizeBy = gradioApp().querySelector("#img2img_tab_resize_by");
        if (resizeBy) new MutationObserver(() => refresh(0)).observe(resizeBy, { attributes: true, attributeFilter: ["style"] });
    }

    // Screen readers are told what the accordion says when that has changed, and not after every picture: what it says is put into the page
    // anew each time.
    function announce(tab) {
        const status = gradioApp().querySelector(`#script_${tab}_lcm_status`);
        const accordion = gradioApp().querySelector(`#script_${tab}_lcm_enabled`);
        if (!status || !accordion) return;
        let region = accordion.querySelector(".lcm-announced");
        if (!region) {
            region = document.createElement("div");
            region.className = "lcm-announced";
            region.setAttribute("aria-live", "polite");
            accordion.append(region);
        }
        const parts = status.querySelectorAll(".lcm-plan, .lcm-warnings > li");
        const text = Array.from(parts, (part) => part.textContent).join(" ");
        if (accordion.offsetParent !== null && region.textContent !== text) region.textContent = text;
    }

    function refresh(attempt) {
        for (const tab of tabs) {
            const button = gradioApp().querySelector(`#script_${tab}_lcm_refresh`);
            if (button) button.click();
        }
        clearTimeout(next);
        if (attempt >= waits.length) return;
        next = setTimeout(function () {
            if (attempt < inAnyCase || gradioApp().querySelector(unanswered)) refresh(attempt + 1);
        }, waits[attempt] * 1000);
    }

    // gradio 3 folds an accordion by a click on its header alone, and the WebUI puts a nameless checkbox into that
    function makeReachable(tab) {
        const accordion = gradioApp().querySelector(`#script_${tab}_lcm_enabled`);
        const header = accordion && accordion.querySelector(".label-wrap");
        if (!header) return;
        const tick = header.querySelector("input[type=checkbox]");
        if (tick) tick.setAttribute("aria-label", "LCM");
        const arrow = header.querySelector(".icon");
        if (arrow && header.nodeName !== "BUTTON") {
            const show = () => arrow.setAttribute("aria-expanded", String(header.classList.contains("open")));
            arrow.tabIndex = 0;
            arrow.setAttribute("role", "button");
            arrow.setAttribute("aria-label", "LCM");
            arrow.addEventListener("keydown", function (event) {
                if (event.key !== "Enter" && event.key !== " ") return;
                event.preventDefault();
                header.click();
            });
            new MutationObserver(show).observe(header, { attributes: true, attributeFilter: ["class"] });
            show();
        }
        for (const number of accordion.querySelectorAll("input[type=number]")) { // a slider's label names its other half alone
            const slider = number.closest("[id^=script_]");
            const label = slider && slider.querySelector("[data-testid=block-info]");
            if (!label) continue;
            label.id = label.id || `${slider.id}_label`;
            number.setAttribute("aria-labelledby", label.id);
        }
        const button = accordion.querySelector(`#script_${tab}_lcm_refresh`);
        if (button && button.title) button.setAttribute("aria-label", button.title); // its text is a symbol
    }

    onUiLoaded(function () {
        if (!gradioApp().querySelector("#script_txt2img_lcm_enabled")) return; // LCM has stepped aside
        seen = ofWebui();
        refresh(0);
        setTimeout(() => tabs.forEach(makeReachable), 0); // when the WebUI's own scripts have put in tick and tooltips
        tabs.forEach(refreshAfterRuns);
        refreshWhenKindOfSizeChanges();
        setInterval(() => look(), 1000 * lookEvery);
        // while another page was looked at, a checkpoint or a setting may have been changed there
        document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(0); });
    });
    onOptionsChanged(() => look(false));
})();
