// What happens in the page when Generate is pressed: the task gets a name, and its progress is shown until it is over.
// Extensions call and replace these functions, which every WebUI of the family has.

function randomId() {
    const part = () => Math.random().toString(36).slice(2, 9);
    return `task(${part()}${part()})`;
}

function localSet(key, value) { localStorage.setItem(key, value); }
function localGet(key, fallback) { return localStorage.getItem(key) ?? fallback; }
function localRemove(key) { localStorage.removeItem(key); }

// Interrupt and Skip stand in the place of Generate while its task runs.
function showSubmitButtons(tab, show) {
    for (const name of ['interrupt', 'skip']) {
        const button = gradioApp().querySelector(`#${tab}_${name}`);
        if (button) {
            button.style.display = show ? 'none' : 'block';
        }
    }
}

// Asks for a task's progress until it is over; `inactivityTimeout` is in seconds, for a task that never starts.
function requestProgress(task, container, gallery, atEnd, onProgress, inactivityTimeout = 40) {
    const started = Date.now();
    const bar = document.createElement('div');
    let wasActive = false;
    bar.className = 'progressDiv';
    container.parentNode.insertBefore(bar, container);

    const end = () => {
        bar.remove();
        atEnd();
    };
    const ask = () => {
        const body = JSON.stringify({ id_task: task, live_preview: false });
        fetch('./internal/progress', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }).then(
            (answer) => answer.json(),
        ).then((state) => {
            const timeout = !state.queued && !state.active && Date.now() - started > 1000 * inactivityTimeout;
            if (state.completed || (wasActive && !state.active) || timeout) {
                end();
                return;
            }
            wasActive = wasActive || state.active;
            bar.textContent = state.active ? `${Math.round(100 * (state.progress || 0))}%` : state.textinfo;
            if (onProgress) {
                onProgress(state);
            }
            setTimeout(ask, 500);
        }).catch(end);
    };
    ask();
}

function submitTask(tab, args) {
    const task = randomId();
    const gallery = gradioApp().querySelector(`#${tab}_gallery`);
    showSubmitButtons(tab, false);
    localSet(`${tab}_task_id`, task);
    requestProgress(task, gradioApp().querySelector(`#${tab}_gallery_container`), gallery, () => {
        showSubmitButtons(tab, true);
        localRemove(`${tab}_task_id`);
    });
    const values = Array.from(args);
    values[0] = task;
    return values;
}

function submit() { return submitTask('txt2img', arguments); }
function submit_img2img() { return submitTask('img2img', arguments); }

onUiLoaded(() => {
    showSubmitButtons('txt2img', true);
    showSubmitButtons('img2img', true);
});
