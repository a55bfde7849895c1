// What lcm_live.js has around it: gradio, which passes presses of Generate on, and the WebUI's server, which
// draws one picture at a time. Both do as a test says: `webui.gradio` and `webui.server`.
"use strict";

const webui = (function () {
    const PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
    const $ = (selector) => document.querySelector(selector);
    const liveNumber = (task) => Number(/^task\(lcm-live-\w+-(\d+)\)$/.exec(task)?.[1] ?? 0);

    const gradio = {
        isHolding: new URLSearchParams(location.search).get("gradio") === "4", // Forge's; else gradio 3
        delay: undefined, // ms until the next press is dealt with; 0: right after the click, null: never
        refuses: false, // what it is given
        values: new Map(), // field -> its value, as far as gradio knows
        pending: new Set(), // tabs whose press is not answered yet

        press(tab) {
            if (!this.isHolding && this.pending.has(tab)) return; // gradio 3 does not listen
            const { delay } = this;
            this.delay = undefined;
            if (delay === null) return;
            if (delay === 0) queueMicrotask(() => this.call(tab));
            else if (delay !== undefined) setTimeout(() => this.call(tab), delay);
            else if (this.isHolding) requestAnimationFrame(() => this.call(tab));
            else this.call(tab);
        },

        call(tab) {
            const value = (name) => this.values.get($(`#${tab}_${name} :is(textarea, input)`));
            const submitted = tab === "txt2img" ? window.submit : window.submit_img2img;
            let sent;
            try {
                sent = submitted(null, value("prompt"), value("seed"), value("width"));
            } catch (error) {
                console.warn(error); // and there the press ends
                return;
            }
            if (this.refuses) return;
            this.pending.add(tab);
            const [task, prompt, seed, width] = sent;
            server.jobs.push({ task, tab, prompt, seed, width, number: liveNumber(task), state: "waiting" });
            server.goOn();
        },
    };

    const server = {
        isDown: false, // nobody answers
        isBroken: false, // answers with an error
        isBusy: false, // with a job of another page
        answersAfter: 0, // ms
        drafts: false, // live pictures are
        jobs: [],
        stops: [],
        questions: [], // about live runs: when they were asked, and whether a preview was asked for
        withdrawn: 0, // live runs up to this number
        shown: { txt2img: null, img2img: null }, // the last live picture
        arrival: null, // of the last picture: a promise

        goOn() {
            if (this.isBusy || this.active) return;
            const job = this.jobs.find(({ state }) => state === "waiting");
            if (!job) return;
            job.state = "active";
            job.isStopped = job.number > 0 && job.number <= this.withdrawn;
            job.isDrawn = !job.isStopped;
            if (job.isStopped) this.end();
        },

        get active() {
            return this.jobs.find(({ state }) => state === "active");
        },

        // The job that is being drawn is over. Its picture comes from there; null: there is none.
        async end(picture = PICTURE) {
            const job = this.active;
            job.state = "completed";
            gradio.pending.delete(job.tab);
            if (picture !== null) {
                const name = job.number > 0 ? job.task.slice(5, -1) + (this.drafts ? ".draft" : "") : "00001";
                const address = job.isStopped ? this.shown[job.tab] : `${picture}#/pictures/${name}.png`;
                if (job.number > 0) this.shown[job.tab] = address;
                this.arrival = show(job.tab, address);
                if (picture === PICTURE) await this.arrival;
            }
            this.goOn();
        },

        progress({ id_task: task, live_preview: preview }) {
            if (liveNumber(task)) this.questions.push({ time: performance.now(), preview });
            const state = this.jobs.find((job) => job.task === task)?.state;
            return {
                active: state === "active",
                queued: state === "waiting" && !gradio.isHolding, // else gradio has not passed it on yet
                completed: state === "completed",
                textinfo: "Waiting...",
            };
        },

        stop({ task, also_running: alsoRunning, files_kept: kept }, outlivesPage) {
            const number = liveNumber(task);
            this.stops.push({ number, alsoRunning, kept, outlivesPage });
            if (this.active?.task !== task) this.withdrawn = Math.max(this.withdrawn, number);
            else if (alsoRunning) this.active.isStopped = true;
            return {};
        },
    };

    // Puts a picture, or none, into the gallery; until it has arrived.
    function show(tab, address) {
        $(`#${tab}_gallery`).replaceChildren();
        if (!address) return Promise.resolve();
        const image = new Image();
        image.src = address;
        $(`#${tab}_gallery`).append(image);
        return new Promise((done) => { image.onload = () => done(); });
    }

    window.fetch = async (address, { body, keepalive }) => {
        const { isDown, isBroken, answersAfter } = server;
        const asked = address.endsWith("/progress") ? "progress" : "stop";
        const answer = server[asked](JSON.parse(body), keepalive);
        if (answersAfter) await new Promise((done) => setTimeout(done, answersAfter));
        if (isDown) throw new TypeError("Failed to fetch");
        return { ok: !isBroken, status: isBroken ? 500 : 200, json: async () => answer };
    };

    document.addEventListener("DOMContentLoaded", () => {
        const fields = document.querySelectorAll("textarea, input");
        for (const field of fields) gradio.values.set(field, field.value);
    });

    document.addEventListener("input", ({ target }) => {
        gradio.values.set(target, target.value);
        if (target.type !== "range") return;
        target.previousElementSibling.value = target.value;
        gradio.values.set(target.previousElementSibling, target.value);
    });

    document.addEventListener("click", ({ target }) => {
        const [, tab, button] = /^(txt2img|img2img)_(generate|random_seed)$/.exec(target.id) || [];
        if (button === "generate") gradio.press(tab);
        if (button === "random_seed") {
            const seed = $(`#${tab}_seed input`);
            seed.value = "-1";
            updateInput(seed);
        }
        if (target.matches(".tab-nav > button")) {
            const chosen = [...target.parentElement.children].indexOf(target);
            const [, ...items] = target.parentElement.parentElement.children;
            items.forEach((item, index) => { item.style.display = index === chosen ? "block" : "none"; });
        }
    });

    // Shift+Enter in a prompt makes a picture without a click on Generate.
    document.addEventListener("keypress", (event) => {
        if (event.key !== "Enter" || !event.shiftKey) return;
        event.preventDefault();
        gradio.call(event.target.closest("[id$=_prompt]").id.split("_")[0]);
    });

    // A drop-down is open while it has the focus.
    for (const [kind, isOpen] of [["focusin", true], ["focusout", false]]) {
        document.addEventListener(kind, ({ target }) => {
            if (target.role) target.setAttribute("aria-expanded", isOpen);
            else target.closest(".wrap-inner")?.classList.toggle("showOptions", isOpen);
        });
    }

    localStorage.clear();
    window.gradio_config = { components: [] };
    return { gradio, server };
})();
