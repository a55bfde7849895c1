// What javascript/lcm.js finds on a WebUI's page: the accordion of both tabs, and gradio, which passes a press of the hidden button `ask` on
// after a moment. The test is the server.
const TABS = ["txt2img", "img2img"];
const PLACES = { overruled: [2, 3], moving: [1], schedule: [4] }; // in `values`: the tick, a slider, two of the WebUI's own controls, the schedule
const OF_FRESH_PAGE = [false, 4, 20, "Euler", "Trailing"];

const gradioApp = () => document;
const onUiLoaded = (act) => addEventListener("load", act);
let optionsChanged = () => {};
const onOptionsChanged = (act) => { optionsChanged = act; };
var opts = { sd_model_checkpoint: "one", sd_checkpoint_hash: "1", lcm_max_steps: 8, samples_save: true };

const gradio = {
    notices: 10, // ms until it deals with a press; null: the press is lost
    values: { txt2img: [...OF_FRESH_PAGE], img2img: [...OF_FRESH_PAGE] },
    exchange: { txt2img: '{"known": {"family": "sd15"}}', img2img: '{"known": {"family": "sd15"}}' },
    sent: [], // what reached the server: { tab, question, values }
    press(tab) {
        if (this.notices === null) return;
        setTimeout(() => {
            const [question, ...values] = lcmPage.asking(tab, PLACES, this.exchange[tab], ...this.values[tab]);
            this.sent.push({ tab, question: JSON.parse(question), values });
        }, this.notices);
    },
    // The server's answer to what was sent as the number-th: the page is told, and shows the line. Returns what gradio does to the slider.
    answer(number, { line = "4 steps", ...more } = {}) {
        const { tab, question } = this.sent[number];
        const { token, known } = question;
        this.exchange[tab] = JSON.stringify({ token, known, preset: "Standard 4", pending: false, moved: [null], ...more });
        document.querySelector(`#script_${tab}_lcm_status`).innerHTML = `<div class="lcm-status"><span class="lcm-plan">${line}</span></div>`;
        return lcmPage.heard(tab, this.exchange[tab], this.values[tab][1]);
    },
};

function accordion(tab) {
    return `<div id="script_${tab}_lcm_enabled"><div class="label-wrap"><span>LCM <input type="checkbox"></span><span class="icon">v</span></div>
        <div id="script_${tab}_lcm_status"></div>
        <div id="script_${tab}_lcm_steps"><span data-testid="block-info">Steps</span><input type="number"></div>
        <button id="script_${tab}_lcm_refresh" title="Look again">*</button>
        <button id="script_${tab}_lcm_ask" style="display: none" onclick="gradio.press('${tab}')"></button></div>
        <button id="${tab}_interrupt" style="display: none"></button>`;
}

document.body.innerHTML = `<div id="quicksettings"><input value="one"></div>
    <div id="img2img_tab_resize_by" style="display: none"><div id="img2img_scale_resolution_preview">no picture</div></div>
    ${location.search === "?without_lcm" ? "" : TABS.map(accordion).join("")}`;
