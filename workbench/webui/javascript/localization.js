// Replaces the page's texts, titles and placeholders that `localization`, which the server sends, has another wording for.

function hasLocalization() {
    return Boolean(window.localization) && Object.keys(window.localization).length > 0;
}

function localizeText(node) {
    const parent = node.parentElement;
    const wording = localization[node.textContent.trim()];
    if (wording !== undefined && parent && !['SCRIPT', 'STYLE', 'TEXTAREA'].includes(parent.nodeName)) {
        node.textContent = wording;
    }
}

function localizeNode(node) {
    if (node.nodeType === Node.TEXT_NODE) {
        localizeText(node);
        return;
    }
    for (const attribute of ['title', 'placeholder']) {
        if (node[attribute] && localization[node[attribute]] !== undefined) {
            node[attribute] = localization[node[attribute]];
        }
    }
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    found.forEach(localizeText);
}

document.addEventListener('DOMContentLoaded', () => {
    if (!hasLocalization()) return;
    onUiUpdate((mutations) => mutations.forEach((mutation) => mutation.addedNodes.forEach(localizeNode)));
    onUiLoaded(() => {
        localizeNode(gradioApp());
        for (const component of window.gradio_config.components) {
            const element = component.props.elem_id && gradioApp().querySelector(`[id="${component.props.elem_id}"]`);
            if (element && element.title && localization[element.title] !== undefined) element.title = localization[element.title];
        }
    });
});
