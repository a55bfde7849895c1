// What scripts of extensions find in the WebUI's page: gradioApp(), opts, callbacks, and helpers for gradio's inputs.

let opts = {};
const uiCallbacks = { update: [], afterUpdate: [], loaded: [], tabChange: [], optionsChanged: [], optionsAvailable: [] };
let afterUpdateTimer = null;
let uiCurrentTab = null;
let pageHasLoaded = false;

function gradioApp() {
    const app = document.querySelector('gradio-app');
    const root = app ? (app.shadowRoot || app) : document;
    if (root !== document && !root.getElementById) {
        root.getElementById = (id) => root.querySelector(`[id="${id}"]`);
    }
    return root;
}

function get_uiCurrentTab() {
    return gradioApp().querySelector('#tabs > .tab-nav > button.selected');
}

function get_uiCurrentTabContent() {
    return gradioApp().querySelector('#tabs > .tabitem[id^=tab_]:not([style*="display: none"])');
}

function onUiUpdate(callback) { uiCallbacks.update.push(callback); }
function onAfterUiUpdate(callback) { uiCallbacks.afterUpdate.push(callback); }
function onUiLoaded(callback) { uiCallbacks.loaded.push(callback); }
function onUiTabChange(callback) { uiCallbacks.tabChange.push(callback); }
function onOptionsChanged(callback) { uiCallbacks.optionsChanged.push(callback); }

function onOptionsAvailable(callback) {
    if (Object.keys(opts).length) {
        callback();
    } else {
        uiCallbacks.optionsAvailable.push(callback);
    }
}

function runCallbacks(callbacks, argument) {
    for (const callback of callbacks) {
        try {
            callback(argument);
        } catch (error) {
            console.error('error running callback', callback, error);
        }
    }
}

// Tell gradio that the value of an input was changed by a script.
function updateInput(target) {
    const event = new Event('input', { bubbles: true });
    Object.defineProperty(event, 'target', { value: target });
    target.dispatchEvent(event);
}

function readOptions() {
    const field = gradioApp().querySelector('#settings_json textarea');
    if (!field || !field.value || field.value === readOptions.lastText) {
        return;
    }
    const wereAvailable = Object.keys(opts).length > 0;
    readOptions.lastText = field.value;
    opts = JSON.parse(field.value);
    if (!wereAvailable) {
        runCallbacks(uiCallbacks.optionsAvailable);
    }
    runCallbacks(uiCallbacks.optionsChanged);
}

function switchToTab(name) {
    for (const button of gradioApp().querySelectorAll('#tabs > .tab-nav > button')) {
        if (button.textContent.trim() === name) {
            button.click();
        }
    }
    return [];
}

function switch_to_txt2img() { return switchToTab('txt2img'); }

function switchImg2imgMode(index) {
    switchToTab('img2img');
    const buttons = gradioApp().querySelectorAll('#mode_img2img > .tab-nav > button');
    if (buttons[index]) {
        buttons[index].click();
    }
    return [];
}

function switch_to_img2img() { return switchImg2imgMode(0); }
function switch_to_inpaint() { return switchImg2imgMode(1); }

// Width and height of the picture that img2img draws from, where its open tab has one.
function currentImg2imgSourceResolution(width, height, scale) {
    const picture = gradioApp().querySelector('#mode_img2img > .tabitem[style*="block"] img');
    return picture ? [picture.naturalWidth, picture.naturalHeight, scale] : [0, 0, scale];
}

function updateImg2imgResizeToTextAfterChangingImage() {
    setTimeout(() => gradioApp().querySelector('#img2img_update_resize_to').click(), 500); // when the page has it
    return [];
}

// The picture that is selected in the gallery of the open tab, or the first one.
function extract_image_from_gallery(gallery) {
    if (!gallery.length) {
        return [null];
    }
    const thumbnails = Array.from(get_uiCurrentTabContent().querySelectorAll('.gradio-gallery .thumbnails > .thumbnail-item'));
    const selected = thumbnails.findIndex((thumbnail) => thumbnail.classList.contains('selected'));
    return [gallery[Math.max(selected, 0)]];
}

// Reloads the page once another server answers than the one that is about to go down.
async function restart_reload() {
    const started = () => fetch('/workbench/v1/started').then((answer) => answer.json());
    const before = await started();
    const wait = () => setTimeout(() => started().then((now) => (now === before ? wait() : location.reload()), wait), 500);
    document.body.style.opacity = 0.5;
    wait();
    return [];
}

// Components of Python's that have a `webui_tooltip`.
onUiLoaded(() => {
    for (const { props } of window.gradio_config.components) {
        const element = props.webui_tooltip && props.elem_id && gradioApp().getElementById(props.elem_id);
        if (element) {
            element.title = props.webui_tooltip;
        }
    }
});

document.addEventListener('DOMContentLoaded', () => {
    const observer = new MutationObserver((mutations) => {
        if (!pageHasLoaded && gradioApp().querySelector('#txt2img_prompt')) {
            pageHasLoaded = true;
            runCallbacks(uiCallbacks.loaded);
        }
        readOptions();
        runCallbacks(uiCallbacks.update, mutations);
        clearTimeout(afterUpdateTimer);
        afterUpdateTimer = setTimeout(() => runCallbacks(uiCallbacks.afterUpdate), 200);
        const tab = get_uiCurrentTab();
        if (tab && tab !== uiCurrentTab) {
            uiCurrentTab = tab;
            runCallbacks(uiCallbacks.tabChange);
        }
    });
    observer.observe(gradioApp(), { childList: true, subtree: true });
});

document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
        const tab = get_uiCurrentTabContent();
        const button = tab && tab.querySelector('button[id$=_generate]');
        if (button) {
            button.click();
            event.preventDefault();
        }
    }
});

// What a component's `webui_tooltip` says is its title.
onUiLoaded(() => {
    for (const component of window.gradio_config.components) {
        const element = component.props.webui_tooltip && gradioApp().querySelector(`[id="${component.props.elem_id}"]`);
        if (element) element.title = component.props.webui_tooltip;
    }
});
