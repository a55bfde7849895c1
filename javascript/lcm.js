// What must happen in the page: the status line names the checkpoint, so it is asked for again when the page has loaded,
// while the WebUI is still loading its first checkpoint, and when the checkpoint changes. And the accordion gets what keyboards
// and screen readers need and gradio leaves out. Everything else works without this file.
(function () {
    const tabs = ["txt2img", "img2img"];
    const waits = [0.5, 1.5, 2, 4, 8, 16, 32]; // seconds until the next click
    const inAnyCase = 2; // of them: a click while the page is still being put together is lost
    const unanswered = ".lcm-status:is([data-lcm-fresh], [data-lcm-pending])"; // nothing has come yet, or no checkpoint is loaded
    let checkpoint = null;

    function refresh(attempt) {
        for (const tab of tabs) {
            const button = gradioApp().querySelector(`#script_${tab}_lcm_refresh`);
            if (button) button.click();
        }
        if (attempt >= waits.length) return;
        setTimeout(function () {
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
        refresh(0);
        setTimeout(() => tabs.forEach(makeReachable), 0); // when the WebUI's own scripts have put in tick and tooltips
    });
    onOptionsChanged(function () {
        if (opts.sd_checkpoint_hash === checkpoint) return;
        checkpoint = opts.sd_checkpoint_hash;
        refresh(0);
    });
})();
