// What must happen in the page: the status line names the checkpoint, so it is asked for again when the page has loaded,
// while the WebUI is still loading its first checkpoint, and when the checkpoint changes. Everything else works without this file.
(function () {
    const tabs = ["txt2img", "img2img"];
    const waits = [2, 4, 8, 16, 32]; // seconds until the next look at a WebUI without a checkpoint
    let checkpoint = null;

    function refresh(attempt) {
        for (const tab of tabs) {
            const button = gradioApp().querySelector(`#script_${tab}_lcm_refresh`);
            if (button) button.click();
        }
        if (attempt >= waits.length) return;
        setTimeout(function () {
            // once in any case: a click while the page is still being put together is lost
            if (attempt === 0 || gradioApp().querySelector(".lcm-status[data-lcm-pending]")) refresh(attempt + 1);
        }, waits[attempt] * 1000);
    }

    onUiLoaded(function () { refresh(0); });
    onOptionsChanged(function () {
        if (opts.sd_checkpoint_hash === checkpoint) return;
        checkpoint = opts.sd_checkpoint_hash;
        refresh(0);
    });
})();
