// InputAccordion: a checkbox in the header of an accordion, kept in step with a hidden gradio checkbox.
// Opening the accordion ticks it; ticking opens it. Once the box itself was clicked, opening and ticking are independent.
// With the class "without-tick" the box is not shown: open means ticked.

function setupInputAccordion(accordion) {
    const header = accordion.querySelector('.label-wrap');
    const hidden = gradioApp().querySelector(`[id="${accordion.id}-checkbox"] input`);
    const extra = gradioApp().querySelector(`[id="${accordion.id}-extra"]`);
    const visible = document.createElement('input');
    const isOpen = () => header.classList.contains('open');
    let follows = true;

    visible.type = 'checkbox';
    visible.id = `${accordion.id}-visible-checkbox`;
    visible.className = `${hidden.className} input-accordion-checkbox`;
    visible.checked = isOpen();

    accordion.visibleCheckbox = visible;
    accordion.onVisibleCheckboxChange = () => {
        if (follows && isOpen() !== visible.checked) {
            header.click();
        }
        if (hidden.checked !== visible.checked) {
            hidden.checked = visible.checked;
            updateInput(hidden);
        }
    };
    accordion.onChecked = (checked) => {
        if (isOpen() !== checked) {
            header.click();
        }
    };

    visible.addEventListener('click', (event) => {
        follows = false;
        event.stopPropagation();
    });
    visible.addEventListener('input', accordion.onVisibleCheckboxChange);
    new MutationObserver(() => {
        accordion.classList.toggle('input-accordion-open', isOpen());
        if (follows && visible.checked !== isOpen()) {
            visible.checked = isOpen();
            accordion.onVisibleCheckboxChange();
        }
    }).observe(header, { attributes: true, attributeFilter: ['class'] });

    if (extra) {
        header.insertBefore(extra, header.lastElementChild);
    }
    if (!accordion.classList.contains('without-tick')) {
        const label = header.querySelector('span');
        label.insertBefore(visible, label.firstChild);
    }
}

// Called by gradio when the hidden checkbox has changed, for instance by a pasted infotext.
function inputAccordionChecked(id, checked) {
    const accordion = gradioApp().querySelector(`[id="${id}"]`);
    if (accordion && accordion.visibleCheckbox) {
        accordion.visibleCheckbox.checked = checked;
        accordion.onVisibleCheckboxChange();
    }
}

onUiLoaded(() => {
    for (const accordion of gradioApp().querySelectorAll('.input-accordion')) {
        setupInputAccordion(accordion);
    }
});
