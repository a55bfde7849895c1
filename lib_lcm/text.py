"""The sentences that users read, in one place: English templates, filled in where they arise, shown in the
WebUI's language by the page.

Labels, tooltips and choices are plain texts, which the WebUI's own localisation replaces in the page. What
holds values cannot be replaced there, so it is a `Text`, translated before it is sent. Both are looked up in
the WebUI's `localizations/*.json`, by the English. The log and the API stay in English: to them, a `Text` is
its English sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Translations = Mapping[str, str]


class Text(str):
    """An English sentence that remembers its template, for translation; everywhere else it is a string like
    any other.
    """

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Text:
        text = super().__new__(cls, template.format(**values))
        text.template = template
        text.values = values
        return text

    def __reduce__(self):
        return str, (str(self),)  # a copy needs no template

    def translated(self, translations: Translations) -> str:
        """The sentence in another language; in English where that has no translation of it, or one with other
        placeholders.
        """
        # a plain string is a name or a path, whatever it may mean elsewhere: a LoRA may be called "nothing"
        values = {
            name: value.translated(translations) if isinstance(value, Text) else value
            for name, value in self.values.items()
        }
        try:
            return translations.get(self.template, self.template).format(**values)
        except (KeyError, IndexError, ValueError, AttributeError):
            return str(self)


def translated(value: Any, translations: Translations) -> Any:
    """`value` in another language, if it is a text that has a translation."""
    if isinstance(value, Text):
        return value.translated(translations)
    return translations.get(value, value) if isinstance(value, str) else value


def term(name: str) -> Text:
    """A name that the WebUI may show in its own language, such as a schedule's, as a value of a sentence."""
    return Text(name.replace("{", "{{").replace("}", "}}"))


COMMA = "{first}, {rest}"
SEMICOLON = "{first}; {rest}"


def joined(items: Sequence[str], pair: str = COMMA) -> str:
    """At least one text, with `pair` between each two of them; all of it still translatable."""
    *before, text = items
    for item in reversed(before):
        text = Text(pair, first=item, rest=text)
    return text


TRADITIONAL = {"hant", "tw", "hk", "mo"}
"""How names of localisations say that their Chinese is traditional: "zh_TW", "zh-Hant (Stable)"."""


def is_same_language(ours: str, localization: str) -> bool:
    """Whether our file of the name `ours` ("zh_CN") is in the language with which the name of a localisation
    begins ("zh-Hans (Stable)").

    Simplified Chinese is not for those who read the traditional one.
    """
    words = re.findall(r"[a-z]+", localization.lower())
    return bool(words) and ours.lower().startswith(words[0] + "_") and not TRADITIONAL.intersection(words)


def sentence_of(error: Exception) -> str:
    """The sentence that an exception was made with; `str(error)` has it in English alone."""
    return error.args[0]


# --- the status line ----------------------------------------------------------------------------------------

NO_LORA_USED = "no LoRA"
LORA_AT = "{lora} at {weight:g}"
REMEMBERED_LORA = "{lora} (remembered for this checkpoint)"
ONE_STEP = "1 step"
STEPS = "{steps} steps"
AT_STRENGTH = "{steps} at strength {strength:g}"
VISITING = "{steps}: {timesteps}"
HIRES = "hires {steps}"
HIRES_WITH = "hires {steps} with {lora}"
SCHEDULE = "schedule {schedule}"
GAMMA = "{sampler} gamma {gamma:g}"
CFG = "CFG {cfg:g}"
CFG_IGNORES = "CFG {cfg:g}: negative prompt ignored"
CFG_USES = "CFG {cfg:g}: negative prompt used"
ONE_UNET_ROW = "1 UNet row"
UNET_ROWS = "{rows} UNet rows"

LCM_IS_OFF = "LCM is off. With it: {status}"
NO_CHECKPOINT_YET = "The checkpoint is not loaded yet; the LCM-LoRA is chosen when the generation starts."

# --- what a picture is told with ----------------------------------------------------------------------------

CHANGED = "{changes}: LCM works with {steps} steps and a CFG scale of {cfg}."
CHANGE = "{name} {before:g} → {after:g}"
RANGE = "{low:g} to {high:g}"
STEPS_NAME = "Steps"
HIRES_STEPS_NAME = "Hires steps"
CFG_NAME = "CFG"
OF_THE_PASS, OF_THE_HIRES_PASS = "steps", "hires steps"
STRENGTH_LEAVES_FEWER = (
    "Denoising strength {strength:g} leaves only {points} of the schedule's timesteps: {name} {before} →"
    " {after}."
)
STRENGTH_OUTSIDE = "The denoising strength is {strength:g}; it must be from 0 to 1."
SCHEDULE_BY_HAND = (
    'Schedule type "{schedule}" was picked by hand and is respected; choose "{automatic}" for the timesteps'
    " that the LCM-LoRA was made for."
)
NO_TCD_OF_ITS_OWN = 'The WebUI has no TCD sampler of its own to hand over to: schedule "Trailing" was used.'
REFINER_SKIPPED = "The refiner {refiner} was skipped: there is no LCM-LoRA for it."

# --- warnings -----------------------------------------------------------------------------------------------

NEGATIVE_PROMPT_IGNORED = (
    "The negative prompt is ignored at CFG scale 1; raise CFG to {cfg:g} at most to use it."
)
MORE_STEPS_AGAINST_GRID = "SDXL at {side} pixels in {steps}: raise steps to 6–8 if you see a grid."
LCM_LORA_WITHOUT_LCM = (
    "The prompt holds the LCM-LoRA {lora}, which does not work with {unfit}: "
    "tick LCM, or use the sampler LCM with {steps} steps and CFG {cfg:g} at most."
)
LCM_LORA_IN_HIRES_WITHOUT_LCM = (
    "The prompt of the hires pass holds the LCM-LoRA {lora}, which does not work with that pass's {unfit}: "
    "tick LCM, or give that pass the sampler LCM with {steps} steps and CFG {cfg:g} at most."
)
LCM_PICTURE_WITHOUT_LCM = (
    "The picture that this one starts from was made with LCM, and LCM is off, so the sampler {sampler} runs"
    " without the LCM-LoRA: tick LCM."
)
UNFIT_SAMPLER = "sampler {sampler}"
UNFIT_CFG = "CFG scale {cfg:g}"
SWITCHED_ON_BY_TAG = (
    "The LCM-LoRA {lora} in the prompt switches LCM on (Settings → LCM), with the WebUI's own steps and CFG"
    " scale."
)

# --- at the WebUI's own controls ----------------------------------------------------------------------------

IGNORED_AT_CFG_ONE = "LCM: ignored at CFG 1"

# --- presets ------------------------------------------------------------------------------------------------

QUALITY = "Quality"
QUALITY_HELP = "Sets steps and CFG scale. Moving a slider makes it Custom."
CUSTOM = "Custom"

# --- the LCM-LoRA's row -------------------------------------------------------------------------------------

REFRESH_HELP = "Look for LoRA files again, and update the status line."
REMEMBER_HELP = (
    "For this checkpoint, Auto then means this LCM-LoRA: on the page, in prompts and over the API, until you"
    " press it again."
)
REMEMBER = "Remember {lora} for this checkpoint"
FORGET = "Forget {lora} for this checkpoint"
DOWNLOAD_HELP = (
    "Downloads the official LCM-LoRA for this checkpoint into the LoRA folder and verifies it; "
    "a download that broke off goes on from there."
)
DOWNLOAD = "Download {lora} ({megabytes:.0f} MB, licence {licence})"

# --- the entries of the LCM-LoRA's drop-down ----------------------------------------------------------------

NOT_CHECKED = "not checked"
NOT_FOR = "{family}, not for {checkpoint}"
NONE_FOUND_FOR = "none found for {family}"
REMEMBERED_ENTRY = "{lora}, remembered"

# --- Live; what javascript/lcm_live.js says stands there ----------------------------------------------------

LIVE = "Live"
LIVE_HELP = (
    "A new picture follows whatever you change, with a fixed seed and without saving. Press Generate to keep"
    " one."
)

# --- options that cannot be used ----------------------------------------------------------------------------

OPTION_UNKNOWN = "LCM option {name!r} is unknown; the options are {names}."
OPTION_REFUSED = "LCM option '{name}' is {value}; it must be {allowed}."
TRUE_OR_FALSE = "true or false"
A_NUMBER = "a number from {low:g} to {high:g}"
A_WHOLE_NUMBER = "a whole number from {low} to {high}"
A_LORA = '"auto", "none" or the name of a LoRA'
EITHER = "{one} or {other}"
AXIS_REFUSED = "{axis}: {problem}"
NEITHER_TRUE_NOR_FALSE = "{value!r} is neither True nor False."
NOT_IN_LORA_FOLDER = "{name!r} is not in the LoRA folder; choose another name, or Auto."

# --- which LCM-LoRA: messages and problems ------------------------------------------------------------------

TAG_WITHOUT_NAME = "The tag {tag!r} names no LoRA: write it as <{kind}:name:1>."
TAG_WITHOUT_NUMBER = "The tag {tag!r} has a weight that is not a number: write it as <{kind}:{name}:1>."
FEW_STEP_LORA = "{lora} in the prompt makes pictures in few steps by itself, so no LCM-LoRA was added to it."
FEW_STEP_LORA_WITH_LCM = (
    "{lora} in the prompt makes pictures in few steps by itself, so no LCM-LoRA was added to it; try the"
    " sampler TCD with it."
)
TAG_OF_OTHER_FAMILY = (
    "{lora} is an LCM-LoRA for {family} and the checkpoint is {checkpoint}: {used} was used instead, at the"
    " same weight."
)
NAMED_SEVERAL_TIMES = (
    "The prompt names an LCM-LoRA {count} times: it was applied once, at the last weight, {weight:g}."
)
REMEMBERED_IS_GONE = "What is remembered for this checkpoint cannot be used, so Auto took {lora}: {why}"
CHECKPOINT_UNKNOWN = (
    "The kind of the loaded checkpoint was not recognised, so no LCM-LoRA can be chosen for it; "
    'switch LCM off, or choose LCM-LoRA "None" if the checkpoint is itself an LCM.'
)
NO_LORA_FOR_FAMILY = (
    "There is no LCM-LoRA for {family} checkpoints; switch LCM off, load an SD 1.5, SDXL or SSD-1B"
    ' checkpoint, or choose LCM-LoRA "None" if the checkpoint is itself an LCM.'
)
FAMILY_WITHOUT_LORA = (
    "{family} has no LCM-LoRA: load a checkpoint of another family ({known}), or choose a LoRA by name."
)
THIS_KIND_OF_CHECKPOINT = "This kind of checkpoint"
LORA_NOT_THERE = "LoRA {name!r} is not in the LoRA folder; choose another LCM-LoRA, or Auto."
LORA_OF_OTHER_FAMILY = (
    "LoRA {name!r} is for {family} and the checkpoint is {checkpoint}; choose another LCM-LoRA, or Auto."
)
NO_LORA_FOUND = (
    "No LCM-LoRA for {family} was found: download it with the LCM panel's button or with `python install.py"
    " --download {short}`, or put {file} from {url} into {folder} as {name}.safetensors."
)
NO_USABLE_LORA_FOUND = (
    "No LCM-LoRA for {family} was found ({misses}): correct that, "
    "or download it with the LCM panel's button or with `python install.py --download {short}`."
)
THE_LORA_FOLDER = "the LoRA folder"
NOT_A_SAFETENSORS_FILE = "{file} does not end in .safetensors"
MADE_FOR_OTHER_FAMILY = "{file} was made for {family}, whatever its name"
NOT_MADE_FOR_FAMILY = "{file} does not look made for {family}, whatever its name"
OTHER_METHOD = '{file} is by its name a "{method}" LoRA, not an LCM-LoRA'
DID_NOT_HOLD = (
    "{file} did not take hold: the WebUI matched {matched} of its {modules} layers to the loaded model, so"
    " the picture would not be LCM's; use the official file (the LCM panel's button gets it), or another"
    " LCM-LoRA."
)
PARTLY_HELD = (
    "{file} did not take hold: the WebUI could not change {failed} of its {modules} layers, most often for"
    " want of memory, so the picture would not be LCM's; free memory and try again, or use another LCM-LoRA."
)
REMEMBERED_NOT_WRITTEN = "{path} cannot be written ({reason}): allow that, then try again."
NOTHING_LOADED_TO_REMEMBER = "Nothing can be remembered: no checkpoint is loaded."
NO_HASH_TO_REMEMBER = (
    "Nothing can be remembered: the WebUI has no hash of this checkpoint (was it started with --no-hashing?)."
)

# --- pictures that cannot be made, or not as LCM's ----------------------------------------------------------

NOT_PREPARED = "LCM could not prepare this picture ({error}): switch LCM off, and please report this."
LORAS_LEFT_OUT = (
    "The request leaves out all LoRAs (disable_extra_networks), and LCM does not work without its own: allow"
    " them."
)
NO_LORA_MACHINERY = (
    "The WebUI applies no LoRAs, so LCM cannot work: switch the built-in extension Lora on, or LCM off."
)
OTHER_LORA_MISSING = (
    "The WebUI applied no LoRA at all, since {name!r} in the prompt is not in the LoRA folder: correct or"
    " remove its tag."
)
LORA_NOT_APPLIED = (
    "The WebUI did not apply {file} (its log says why), so the picture would not be LCM's: check that the"
    " file is still there and whole."
)
INNER_WITHOUT_LCM = (
    "The inner generation with {sampler} at CFG scale {cfg:g} is made without LCM and its LoRA."
)
INNER_CHANGED = (
    "Inner generation: steps {steps_before} → {steps}, CFG scale {cfg_before:g} → {cfg:g}; "
    "LCM works with {low} to {high} steps and CFG {most:g} at most."
)

# --- what is wrong with a LoRA file: FILE_PROBLEM and its predicate -----------------------------------------

FILE_PROBLEM, FILE_PROBLEM_LISTED = "{file} {what}.", "{file} {what}"
IS_A_FOLDER = "is a folder: give the .safetensors file inside it"
IS_NO_FILE = "is not an ordinary file: put the .safetensors file itself in its place"
IS_A_PICKLE = (
    "was not checked, because opening a file of this kind can run code: use the .safetensors version of it"
)
IS_A_DEAD_LINK = "is a link to a file that is gone: put the file back or download it again"
IS_NOT_THERE = "is not there: put the file back or download it again"
IS_FORBIDDEN = "cannot be read: allow the WebUI's user to read it"
IS_UNREADABLE = "cannot be read ({reason}): check the disk and the file's name"
IS_CUT_OFF = "is cut off: {there:,} of {size:,} bytes of weights are there; download it again"
HAS_A_TAIL = "is damaged ({bytes:,} bytes follow its last tensor): download it again"
IS_INCOMPLETE = (
    "is incomplete ({count} of its {modules} layers lack half of their weights): download it again"
)
IS_EMPTY = "is empty: download it again"
IS_NOT_JSON = "is damaged (its header is not valid JSON): download it again"
IS_A_WEB_PAGE = "is a web page saved under this name: download it again"
IS_A_GIT_POINTER = "is a Git LFS pointer, not the LoRA itself: download it again"
IS_A_TEXT_FILE = "is a text file, perhaps a server's error message: download it again"
IS_A_RENAMED_PICKLE = "is a PyTorch or zip file under a .safetensors name: use the .safetensors version of it"
IS_CUT_OFF_AFTER = "is cut off after {size} bytes: download it again"
IS_NOT_SAFETENSORS = "is not a safetensors file (a header of {length:,} bytes): download it again"
IS_CUT_OFF_IN_HEADER = (
    "is cut off: its header alone has {length:,} bytes, the file {size:,}; download it again"
)
BECAME_SHORTER = "became shorter while it was read: wait until it is copied or download it again"
METADATA_NOT_TEXT = "is damaged (its metadata is not text): download it again"
HEADER_NOT_OBJECT = "is damaged (its header is not a JSON object): download it again"
TENSOR_MISDESCRIBED = "is damaged (its header describes {tensor} wrongly): download it again"
TENSOR_OF_WRONG_LENGTH = "is damaged (the shape and the length of {tensor} disagree): download it again"
TENSORS_OVERLAP = "is damaged (its tensors overlap): download it again"
TENSORS_HAVE_GAPS = "is damaged (its tensors have gaps between them): download it again"
TENSOR_NAMED_TWICE = "is damaged (its header names {tensor} twice): download it again"
HAS_NO_WEIGHTS = "has no weights in it: download it again"
IS_A_CHECKPOINT = "is a checkpoint, not a LoRA: move it to models/Stable-diffusion"
IS_AN_EMBEDDING = "is an embedding, not a LoRA: move it to the embeddings folder"
IS_NO_LORA = "is not a LoRA (none of its {count} tensors is a LoRA's): move it out of the LoRA folder"

# --- downloads that fail ------------------------------------------------------------------------------------

BY_HAND = "download {file} from {url} by hand and save it as {target}"
OTHER_FILE_THERE = (
    "{target} is there already and is not the official {lora}: move or rename it, then try again."
)
OFFLINE = "{variable} is set, so {lora} is not downloaded: unset it, or {by_hand}."
MIRROR_NO_ADDRESS = (
    "The download mirror {mirror!r} in Settings → LCM is no address such as https://hf-mirror.com: correct or"
    " empty it."
)
NO_SUCH_FOLDER = "The LoRA folder {folder} does not exist: create it or name another one."
TOO_LITTLE_SPACE = "{lora} needs {needed} in {folder}, where {free} are free: make room, then try again."
CONNECTION_LOST = (
    "The connection broke while {lora} was downloading: try again, it goes on where it stopped; or {by_hand}."
)
CERTIFICATE_NOT_TRUSTED = (
    "The certificate of {server} is not trusted here, as happens behind company proxies: set"
    " REQUESTS_CA_BUNDLE, or {by_hand}."
)
NOT_REACHED = "{server} cannot be reached for {lora}: check the network and proxy, or {by_hand}."
NOT_DOWNLOADED = "{lora} cannot be downloaded ({error}): {by_hand}."
WRONG_PART = "{server} sent another part of {lora} than the one asked for: {by_hand}."
NOT_RESUMED = "{server} cannot go on with the download of {lora}: {by_hand}."
REFUSED = (
    "{server} refused {lora} (HTTP {status}): remove or renew HF_TOKEN or the saved login, which the file"
    " does not need, or {by_hand}."
)
NOT_ON_SERVER = "{server} does not have {file} (HTTP {status}): {by_hand}."
SERVER_BUSY = "{server} is asked for too much at the moment (HTTP {status}): try {lora} again {later}."
SERVER_FAILED = "{server} has a problem of its own (HTTP {status}): try {lora} again {later}."
IN_SECONDS, IN_MINUTES = "in {seconds:.0f} seconds", "in a few minutes"
WRONG_ANSWER = "{server} answered HTTP {status} for {lora}: {by_hand}."
WRONG_SIZE = (
    "{server} offers {offered:,} bytes as {lora}, which has {size:,}: "
    "see whether a login page or HF_ENDPOINT answers in its place, or {by_hand}."
)
AT_LEAST_WRONG_SIZE = (
    "{server} offers at least {offered:,} bytes as {lora}, which has {size:,}: "
    "see whether a login page or HF_ENDPOINT answers in its place, or {by_hand}."
)
WRONG_CONTENT = (
    "What arrived as {lora} is not the official file (its SHA-256 differs) and was deleted: try again, or"
    " {by_hand}."
)
CANCELLED = "The download of {lora} was cancelled: the next one goes on where it stopped."
UNDER_WAY = "{file} is being downloaded already: wait for it to finish."
NO_PACKAGE = "This Python has no {package}: use the WebUI's own Python, or {by_hand}."
NOT_WRITABLE = "{path} may not be written: allow that, or close the program that has it open, then try again."
DISK_FULL = "The disk of {folder} is full: make room, then try again; {lora} goes on where it stopped."
NOT_SAVED = "{lora} cannot be saved in {folder} ({error}): correct that, or name another folder."

# --- Settings -> LCM ----------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """What the Settings page says of a setting. The WebUI puts `info` in parentheses beside the label, and so
    it is to be translated.
    """

    label: str
    info: str


SETTINGS = {
    "lcm_min_steps": Setting(
        "Fewest steps of an LCM generation", "a request's own steps below it are raised"
    ),
    "lcm_max_steps": Setting(
        "Most steps of an LCM generation",
        "a request's own steps above it are lowered; LCM gains nothing beyond 8",
    ),
    "lcm_min_cfg": Setting(
        "Lowest CFG scale of an LCM generation",
        "a request's own CFG scale below it is raised; 1 is the fastest",
    ),
    "lcm_max_cfg": Setting(
        "Highest CFG scale of an LCM generation",
        "a request's own CFG scale above it is lowered; above 2 pictures burn",
    ),
    "lcm_schedule": Setting(
        "Schedule",
        "what the accordion starts with after Reload UI, and an API request that gives no schedule gets",
    ),
    "lcm_typed_tag": Setting(
        "An LCM-LoRA in the prompt while LCM is off",
        "warn: where sampler, steps or CFG scale cannot work with it; switch LCM on: for this picture;"
        " nothing: leave it alone",
    ),
    "lcm_trailing_by_hand": Setting(
        'Use the trailing schedule for the sampler "LCM" picked by hand',
        "with LCM off; without this the WebUI's own LCM sampler runs as it would without the extension",
    ),
    "lcm_live_debounce": Setting(
        "Live: seconds without a change before a picture is drawn", "less draws while you are still typing"
    ),
    "lcm_live_patience": Setting(
        "Live: seconds that a newer change waits for the picture in progress",
        "after them that picture is interrupted; 0 interrupts at once",
    ),
    "lcm_download_mirror": Setting(
        "Download LCM-LoRAs from this copy of the Hugging Face Hub",
        "empty: HF_ENDPOINT of the environment, or huggingface.co; what stands here wins over both and is not"
        " sent your Hugging Face token",
    ),
}
FAMILY_SETTINGS = {
    "lcm_steps": Setting(
        "Steps for {family} checkpoints",
        "what the accordion starts with when such a checkpoint is loaded, within the bounds above",
    ),
    "lcm_cfg": Setting(
        "CFG scale for {family} checkpoints", "what the accordion starts with, within the bounds above"
    ),
    "lcm_weight": Setting(
        "LoRA weight for {family} checkpoints",
        "what the accordion starts with, and an API request that gives no weight gets",
    ),
}
"""The settings that there are for each family; each is called `name_FAMILY`."""
TAG_WARN, TAG_SWITCH_ON, TAG_NOTHING = "warn", "switch LCM on", "nothing"
