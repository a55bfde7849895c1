// What lcm_live.js looks at on a WebUI's page, as gradio builds it once the page has loaded.
(function () {
    "use strict";

    const query = new URLSearchParams(location.search);
    const isForge = query.get("gradio") === "4";

    const text = (id, value = "") => `<div id="${id}"><textarea rows="1">${value}</textarea></div>`;
    const number = (id, value) => `<div id="${id}"><input type="number" value="${value}"></div>`;
    const tick = (id, state = "") => `<div id="${id}"><input type="checkbox" ${state}></div>`;
    const button = (id) => `<button id="${id}">${id}</button>`;

    function slider(id, value, most) {
        return `<div id="${id}"><input type="number" value="${value}">
            <input type="range" min="0" max="${most}" value="${value}"></div>`;
    }

    function radio(id, ...values) {
        const choice = (value, index) => `<label>
            <input type="radio" name="${id}" value="${value}" ${index ? "" : "checked"}>${value}</label>`;
        return `<div id="${id}">${values.map(choice).join("")}</div>`;
    }

    function dropDown(id, value) {
        const role = isForge ? 'role="listbox" aria-expanded="false"' : "";
        return `<div id="${id}"><div class="wrap-inner"><div class="secondary-wrap">
            <input value="${value}" ${role}></div></div></div>`;
    }

    // Forge's own has a canvas and an image when it is empty, too.
    function editor(id) {
        if (!isForge) {
            return `<div id="${id}" data-testid="image"><button>Undo</button>
                <div class="image-container"><input type="file"></div></div>`;
        }
        return `<div id="${id}" class="forge-container"><canvas width="200" height="100"></canvas><img src="">
            ${text(`${id}_picture`)}</div>`;
    }

    const modes = `<div id="mode_img2img">
        <div class="tab-nav"><button>img2img</button><button>Inpaint</button><button>Batch</button></div>
        <div class="tabitem" id="img2img_img2img_tab">${editor("img2img_image")}</div>
        <div class="tabitem" id="img2img_inpaint_tab" style="display: none">${editor("img2maskimg")}</div>
        <div class="tabitem" id="img2img_batch_tab" style="display: none">${text("img2img_batch_dir")}</div>
    </div>`;

    const accordion = (id) => `<div id="${id}_enabled">
        ${tick(`${id}_enabled-checkbox`, "checked")}
        ${radio(`${id}_quality`, "Preview", "Best")}
        ${slider(`${id}_steps`, 4, 8)}
        ${dropDown(`${id}_lora`, "Auto\u00a0\u00b7\u00a0lcm_lora_sd15")}
        ${tick(`${id}_live`)}
        <div id="${id}_live_status">
            <div class="lcm-live-status" ${isForge ? "data-lcm-holds-back" : ""}></div>
        </div>
        ${["exchange", "done", "pasted"].map((name) => text(`${id}_${name}`)).join("")}
    </div>`;

    const settings = (name) => `<div id="${name}_settings">
        ${name === "img2img" ? modes : ""}
        ${slider(`${name}_width`, 64, 2048)}
        ${tick(`${name}_tiling`)}
        ${radio(`${name}_resize`, "Crop", "Fill")}
        <div id="${name}_sampling"><select><option>Euler</option><option>Heun</option></select></div>
        ${number(`${name}_seed`, -1)} ${button(`${name}_random_seed`)}
        ${tick(`${name}_subseed_show`)} ${number(`${name}_subseed`, -1)}
        <div id="${name}_resize_to"><input disabled value="64x64"></div>
        ${dropDown("script_list", "None")}
        ${query.has("without_lcm") ? "" : accordion(`script_${name}_lcm`)}
    </div>`;

    const tab = (name, style) => `<div class="tabitem" id="tab_${name}" style="${style}">
        ${text(`${name}_prompt`, "a star")} ${text(`${name}_neg_prompt`)} <div id="${name}_styles"></div>
        ${["generate", "interrupt", "skip"].map((action) => button(`${name}_${action}`)).join("")}
        ${settings(name)}
        <div id="${name}_results">
            <div id="${name}_gallery_container"><div id="${name}_gallery"></div></div>
        </div>
    </div>`;

    const options = JSON.stringify({ lcm_live_debounce: 0.3, lcm_live_patience: 4 });
    const page = `<div id="quicksettings">
            ${dropDown("setting_sd_model_checkpoint", "small")}
            <div id="modules"><div class="token">vae</div></div>
        </div>
        <div id="tabs">
            <div class="tab-nav"><button>txt2img</button><button>img2img</button></div>
            ${tab("txt2img", "")} ${tab("img2img", "display: none")}
        </div>
        ${button("elsewhere")}
        <div id="settings_json"><textarea hidden>${options}</textarea></div>`;

    for (const name of query.getAll("lacks")) window[name] = undefined;
    document.addEventListener("DOMContentLoaded", () => document.body.insertAdjacentHTML("afterbegin", page));
})();
