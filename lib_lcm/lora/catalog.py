"""The published few-step LoRAs: what they are called, where they are, and how to be sure of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lib_lcm.families import FLUX, SD2, SD3, SD15, SDXL, SSD1B, VEGA, Family

OPENRAIL, MIT, APACHE = "OpenRAIL++", "MIT", "Apache-2.0"
OPEN_LICENCES = frozenset({OPENRAIL, MIT, APACHE})
"""Licences that allow commercial use."""
UNKNOWN_LICENCE = "unknown"

OFFERED_FAMILIES = (SD15, SDXL, SSD1B, VEGA)
"""The families whose few-step sampling the extension knows."""


@dataclass(frozen=True)
class PublishedLora:
    """One published file.

    `method` names a row of `methods.METHODS`; `name` is the conventional name under which the file is saved
    in the WebUI's LoRA folder (without ending). `repo` is on the Hugging Face Hub, `filename` the path in
    there ("" where it is not known); `licence` is what the card says, or "unknown". `sha256` is of the whole
    file, the current upload first. `size` is that of the current upload in bytes, `megabytes` the same in
    millions of bytes (0 where not even that is known); `other_sizes` are those of earlier uploads. `short`
    holds the first 12 digits of the WebUI's own LoRA hash, which covers the tensor data alone.
    """

    family: Family
    method: str
    name: str
    repo: str
    filename: str
    licence: str
    sha256: tuple[str, ...]
    megabytes: int
    size: int | None = None
    other_sizes: tuple[int, ...] = ()
    short: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes in bytes of its uploads, as far as they are known."""
        return self.other_sizes if self.size is None else (self.size, *self.other_sizes)

    @property
    def expected_size(self) -> int:
        """The bytes that a download has, to half a million of them where no more is known."""
        return self.megabytes * 1_000_000 if self.size is None else self.size

    @property
    def url(self) -> str:
        """The page that a person can download the file from."""
        return f"https://huggingface.co/{self.repo}"

    @property
    def is_open(self) -> bool:
        """Whether its licence allows commercial use."""
        return self.licence in OPEN_LICENCES

    @property
    def is_offered(self) -> bool:
        """Whether it may be offered for download: its licence is known, and so is the sampling of its family.
        Where it is not `is_open`, the licence is to be said first.
        """
        return self.licence != UNKNOWN_LICENCE and self.family in OFFERED_FAMILIES


def _row(
    family: Family,
    method: str,
    name: str,
    repo: str,
    licence: str,
    *sha256: str,
    filename: str = "pytorch_lora_weights.safetensors",
    size: int | None = None,
    megabytes: int = 0,
    other_sizes: tuple[int, ...] = (),
    short: str | None = None,
) -> PublishedLora:
    """The row, with what most rows have in common."""
    return PublishedLora(
        family, method, name, repo, filename, licence, sha256, round(size / 1e6) if size else megabytes,
        size, other_sizes, (short,) if short else (),
    )  # fmt: skip


# AnimateLCM's LoRA (AnimateLCM_sd15_t2v_lora.safetensors) is the same content as lcm-lora-sdv1-5.
_LCM = (
    _row(
        SD15, "lcm", "lcm_lora_sd15", "latent-consistency/lcm-lora-sdv1-5", OPENRAIL,
        "8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4",
        size=134_621_556, short="aaebf6360f7d",
    ),
    _row(
        SDXL, "lcm", "lcm_lora_sdxl", "latent-consistency/lcm-lora-sdxl", OPENRAIL,
        "a764e6859b6e04047cd761c08ff0cee96413a8e004c9f07707530cd776b19141",
        # before revision a18548dd (2023-11-24), and as re-uploaded in lllyasviel/misc
        "c3dbf7eb26dd00ae6b6b95da69be9f1cb95a3b2c5bcf9be82323227a19b91329",
        size=393_855_224, other_sizes=(393_854_624,), short="3d18b05e4f56",
    ),
    _row(
        SSD1B, "lcm", "lcm_lora_ssd1b", "latent-consistency/lcm-lora-ssd-1b", OPENRAIL,
        "7adaaa69db6f011058a19fd1d5315fdf19ef79fcd513cdab30e173833fd5c59b",
        size=209_991_222,
    ),
    _row(
        VEGA, "lcm", "lcm_lora_vega", "segmind/Segmind-VegaRT", APACHE,
        "9b6e8cd833fa205eaeeed391ca623a6f2546e447470bd1c5dcce3fa8d2f26afb",
        size=239_224_692,
    ),
)  # fmt: skip

_HYPER_METHODS = {
    "1step": "hyper",
    "2steps": "hyper-2",
    "4steps": "hyper-4",
    "8steps": "hyper-8",
    "8steps-CFG": "hyper-cfg-8",
    "12steps-CFG": "hyper-cfg-12",
}
_HYPER_SD15 = (
    ("1step", "a04fd9a535c1e56d38f7590ee72a13fd5ca0409853b4fff021e5a9482cf1ca3b", "5a48ac366664"),
    ("2steps", "2f26dcc1d883feb07557a552315baae2ca2a04ac08556b08a355a244547e8c3a", "ee0ff23dcc42"),
    ("4steps", "c5dd058616461ed5053e2b14eec4dbe3fa0eea3b13688642f6d6c80ea2ba5958", "e476eb1da5df"),
    ("8steps", "91fc3186236e956d64dbb4357f2e120c69b968b78af7d2db9884a5ca74d3cd13", "ecb844c3f3b0"),
    ("8steps-CFG", "f6123d5b950d5250ab6c33600e27f4dcf71b3099ebf888685e01e9e8117ce482", "1ab289133ebb"),
    ("12steps-CFG", "64b98437383537cd968fda6f87a05c33160ece9c79ff4757949a1e212ff78361", None),
)
_HYPER_SDXL = (
    ("1step", "c912df184c5116792d2c604d26c6bc2aa916685f4a793755255cda1c43a3c78a", "8cca3706050b"),
    ("2steps", "69b25c0187ced301c3603c599c0bc509ac99b8ac34db89a2aecc3d5f77a35187", "fdd5dcd1d88a"),
    ("4steps", "12f81a27d00a751a40d68fd15597091896c5a90f3bd632fb6c475607cbdad76e", "1c88f7295856"),
    ("8steps", "ca689190e8c46038550384b5675488526cfe5a40d35f82b27acb75c100f417c1", "4f494295edb1"),
    ("8steps-CFG", "55b51334c85061afff5eff7c550b61963c8b8607a5868bbe4f26db49374719b1", "ca14a8c621f8"),
    ("12steps-CFG", "0b97f447b5878323a28fbe7c51ba7acebd21f4d77552ba77b04b11c8911825b6", None),
)
_HYPER_FLOW = (
    (SD3, "SD3-4steps-CFG", "0ee4e529abd17b06d4295e3bb91c0d4ddae393afad86b2b43c4f5eeb9e401602"),
    (SD3, "SD3-8steps-CFG", "fc6a3e73e14ed11e21e4820e960d7befcffe7e333850ada9545f239e9aa6027e"),
    (SD3, "SD3-16steps-CFG", "5b4d0b99d58deb811bdbbe521a06f4dbf56a2e9148ff3211c594e0502b656bc9"),
    (FLUX, "FLUX.1-dev-8steps", "e0ab0fdf569cd01a382f19bd87681f628879dea7ad51fe5a3799b6c18c7b2d03"),
    (FLUX, "FLUX.1-dev-16steps", "6461f67dfc1a967ae60344c3b3f350877149ccab758c273cc37f5e8a87b5842e"),
)


def _hyper() -> Iterator[PublishedLora]:
    """Hyper-SD. The file "for one step" is the unified one, for 1 to 8 steps."""
    repo = "ByteDance/Hyper-SD"
    for family, files in ((SD15, _HYPER_SD15), (SDXL, _HYPER_SDXL)):
        for variant, sha256, short in files:
            unified = variant == "1step"
            sd15_size = 269_127_096 if unified else 269_127_064
            ending = "unified" if unified else variant.lower().replace("-", "_")
            yield _row(
                family, _HYPER_METHODS[variant], f"hyper_{family}_{ending}", repo, OPENRAIL, sha256,
                filename=f"Hyper-{family.name.upper()}-{variant}-lora.safetensors",
                size=sd15_size if family is SD15 else 787_359_648, short=short,
            )  # fmt: skip
    for family, variant, sha256 in _HYPER_FLOW:
        name = "hyper_" + variant.lower().replace(".1-dev", "").replace("-", "_")
        yield _row(
            family, "flow", name, repo, OPENRAIL, sha256,
            filename=f"Hyper-{variant}-lora.safetensors", megabytes=472 if family is SD3 else 1388,
        )  # fmt: skip


_LIGHTNING = (
    (2, "04fafc778385b24144498a8247498ae4fb7a69f702ea0566bdce2845a31fcc43", None),
    (4, "bf56cf2657efb15e465d81402ed481d1e11c4677e4bcce1bc11fe71ad8506b79", "1c32bdb07a7c"),
    (8, "5aa30d94cdf7950a8b53a693682650ee061eddb128c5435a8f88defea73b2ac6", None),
)


def _lightning() -> Iterator[PublishedLora]:
    """SDXL-Lightning."""
    for steps, sha256, short in _LIGHTNING:
        name = f"sdxl_lightning_{steps}step"
        yield _row(
            SDXL, f"lightning-{steps}", name, "ByteDance/SDXL-Lightning", OPENRAIL, sha256,
            filename=f"{name}_lora.safetensors", size=393_854_592, short=short,
        )  # fmt: skip


_DMD2 = (
    _row(
        SDXL, "dmd2", "dmd2_sdxl_4step", "tianweiy/DMD2", "CC-BY-NC-4.0",
        "b3d9173815a4b595991c3a7a0e0e63ad821080f314a0b2a3cc31ecd7fcf2cbb8",
        "7de75d21cb3f04bc3e734424157b2c3b799b862069c8dd9f4ad76fe66c57ba7c",
        filename="dmd2_sdxl_4step_lora_fp16.safetensors", size=393_854_592, other_sizes=(393_736_496,),
    ),
    _row(
        SDXL, "dmd2", "dmd2_sdxl_4step_fp32", "tianweiy/DMD2", "CC-BY-NC-4.0",
        "a374289e9446d7f14d2037c4b3770756b7b52c292142a691377c3c755010a1bb",
        "dd3dfdd1f212798b86100e029606d60c53a52b76a19d1f024acdf3c50987d581",
        filename="dmd2_sdxl_4step_lora.safetensors", size=787_359_616, other_sizes=(787_239_704,),
    ),
)  # fmt: skip

_TCD = (
    _row(
        SDXL, "tcd", "tcd_sdxl", "h1t/TCD-SDXL-LoRA", MIT,
        "2c777bc60abf41d3eb0fe405d23d73c280a020eea5adf97a82a141592c33feba",
        size=393_854_624, short="b71dcb732467",
    ),
    _row(
        SD15, "tcd", "tcd_sd15", "h1t/TCD-SD15-LoRA", MIT,
        "eaecb24a1cda4411eab67275b1d991071216ac93693e8fa0c9226c9df0386232",
        size=134_621_556,
    ),
    _row(
        SD2, "tcd", "tcd_sd21", "h1t/TCD-SD21-base-LoRA", MIT,
        "35cd8b7381d2b045962c742cd976b6629a0bc1d19e24d96eae855a1c3519681a",
        megabytes=136,
    ),
)  # fmt: skip

_PCM_LICENCE = UNKNOWN_LICENCE  # the card of the weights names none; that of the code is Apache-2.0
_PCM_SD15 = {
    "smallcfg_2step": ("4c5f27a727d12146de4b1d987cee3343bca89b085d12b03c45297af05ce88ef4",),
    "smallcfg_4step": ("29278bc86274fdfc840961e3c250758ff5e2dc4666d940f103e78630d5b879d3",),
    "smallcfg_8step": ("41a7f0b966d18f643d16c4401f0b5ef6b9ef7362c20e17128322f17874709107",),
    "smallcfg_16step": ("c7ac2fa3df3a5b7080ebe63f259ab13630014f104c93c3c706d77b05cc48506b",),
    "normalcfg_4step": ("fa6acb94f11dba3bf4120af5a12e3c88cd2b9572d43ec1a6fb04eede9f32829e",),
    "normalcfg_8step": ("bff3d4499718b61455b0757b5f8d98fe23e73a768b538c82ecf91c693b69dbcd",),
    "normalcfg_16step": ("8f605ffde3616592deb37ed8c6bacb83fe98963c1fd0883c2a4f93787098aa45",),
    "lcmlike": ("b80b27dd6504f1c3a7637237dda86bc7e26fa5766da30c4fc853c0a1d46bad31",),
}
_PCM_SDXL = {
    "smallcfg_2step": (
        "e1f600491bb8e0cd94f41144321e44fdb2cb346447f31e71f6e53f1c24cccfbf",
        "242cbe4695fe3f2e248faa71cf53f2ccbf248a316973e4b2f38ab9e34f35a5ab",
    ),
    "smallcfg_4step": (
        "212150d7953627fb89df99aad579d6763645a1cb2ef26b19fee8b398d5e5ff4d",
        "d0bf40a7f280829195563486bec7253f043a06b1f218602b20901c367641023e",
    ),
    "smallcfg_8step": (
        "56ed9dc9f51f4bb0d6172e13b7947f215c347fc0da341c8951b2c12b9507d09e",
        "e80fcf46d15f4d3821d3d9611bdb3022a4a8b647b2536833b168d317a91e4f74",
    ),
    "smallcfg_16step": (
        "3442eff271aa3b60a094fd6f9169d03e49e4051044a974f6fcf690507959191f",
        "13fb038025ce9dad93b8ee1b67fc81bac8affb59a77b67d408d286e0b0365a1d",
    ),
    "normalcfg_4step": (
        "9f7f13bb019925eacd89aeff678e4fd831f7b60245b986855dff6634aee4eba9",
        "a85cf70ac16ed42011630a5cd6b5927722cb7c40a2107eff85e2670f9a38c893",
    ),
    "normalcfg_8step": (
        "7f04ba8911b4c25ef2c7cbf74abcb6daa3b4f0e4bc6a03896bdae7601f2f180b",
        "3b9c970a3e4c0e182931e71b3f769c1956f16c6b06db98b4d67236790d4d0b1d",
    ),
    "normalcfg_16step": (
        "7eb353b2abcaabab6251ba4e17d6cbe2e763feb0674b0f950555552212b44621",
        "04ea827435d5750e63d113dc509174b4f6e8a069ff8f91970c3d25299c10b1f8",
    ),
    "lcmlike": ("0365f6107250a4fed1b83e8ae6a070065e026a2ba54bff65f55a50284232bbe6",),
}
_PCM_SD3 = (
    ("pcm_deterministic_2step_shift1", "8a45878ecc34e53855fe21146cb6ef32682053b7c4eacc013be89fb08c4c19d8"),
    ("pcm_deterministic_4step_shift1", "9444a5cead551c56c4d1c455ce829ba9f96f01fbcca31294277e0862a6a15b76"),
    ("pcm_deterministic_4step_shift3", "e365902c208cbc0456ca5e7c41a490f637c15f3f7b98691cbba21f96a8c960b4"),
    ("pdm_stochastic_shift3", "3550fa018cd0b60d9e36ac94c31b30f27e402d3855ed63e47668bb181b35a0ad"),
)


def _pcm() -> Iterator[PublishedLora]:
    """Phased consistency models: for small and for usual CFG scales, and like an LCM-LoRA."""
    repo = "wangfuyun/PCM_Weights"
    for family, size, files in ((SD15, 134_621_524, _PCM_SD15), (SDXL, 393_854_592, _PCM_SDXL)):
        for variant, sha256 in files.items():
            cfg, _, steps = variant.partition("cfg_")
            method = f"pcm-{cfg}-{steps.removesuffix('step')}" if steps else "pcm-lcm"
            stem = f"pcm_{family}_{variant}"
            uploaded = stem if steps else f"{stem}_lora"
            yield _row(
                family, method, stem, repo, _PCM_LICENCE, *sha256,
                filename=f"{family}/{uploaded}_converted.safetensors", size=size,
            )  # fmt: skip
    for stem, digest in _PCM_SD3:
        yield _row(
            SD3, "flow", f"pcm_sd3_{stem[4:]}", repo, _PCM_LICENCE, digest,
            filename=f"{stem}.safetensors", megabytes=104,
        )  # fmt: skip


_OTHERS = (
    _row(
        SDXL, "flash", "flash_sdxl", "jasperai/flash-sdxl", "CC-BY-NC-ND-4.0",
        "afe2ca6e27c4c6087f50ef42772c45d7b0efbc471b76e422492403f9cae724d7",
        megabytes=372, short="816d0eed49fd",
    ),
    _row(
        SD15, "flash", "flash_sd15", "jasperai/flash-sd", "CC-BY-NC-4.0",
        "99353444c1a0f40719a1b3037049dbd24800317979a73c312025c05af3574a5f",
        megabytes=102, short="c2ec22757b46",
    ),
    _row(
        SDXL, "slam", "slam_sdxl", "alimama-creative/slam-lora-sdxl", APACHE,
        "22569a946b0db645aa3b8eb782c674c8e726a7cc0d655887c21fecf6dfe6ad91",
        megabytes=394,
    ),
    _row(
        SDXL, "turbo", "turbo_sdxl_rank128", "shiroppo/sd_xl_turbo_lora", "SAI NC",
        "a599c42a9f4f7494c7f410dbc0fd432cf0242720509e9d52fa41aac7a88d1b69",
        filename="sd_xl_turbo_lora_v1-128dim.safetensors", size=787_342_192,
        short="813ea5fb1c67",  # perhaps that of another rank, which is sampled alike
    ),
    _row(
        SDXL, "turbo", "turbo_sdxl_rank64", "shiroppo/sd_xl_turbo_lora", "SAI NC",
        "fe223afc1a165834bdd9cf2d3bfc82374468ded5f3ea8b6ab8018f02f380c557",
        filename="sd_xl_turbo_lora_v1-64dim.safetensors", size=393_837_232,
    ),
    # another thing than Flash Diffusion above
    _row(
        SDXL, "sdxl-flash", "sdxl_flash_community", "sd-community/sdxl-flash-lora", UNKNOWN_LICENCE,
        "f12b364076e5f35899eeef3220d96fc135c164d99b15151031c99054b6bb51a5",
        filename="sdxl-flash-lora.safetensors", size=509_550_144,
    ),
    _row(
        FLUX, "flow", "flux_turbo_alpha", "alimama-creative/FLUX.1-Turbo-Alpha", UNKNOWN_LICENCE,
        "77f7523a5e9c3da6cfc730c6b07461129fa52997ea06168e9ed5312228aa0bff",
        filename="diffusion_pytorch_model.safetensors", size=694_082_424,
    ),
    _row(
        SD3, "flow", "sd35_medium_turbo", "tensorart/stable-diffusion-3.5-medium-turbo", UNKNOWN_LICENCE,
        "bdcbdfa3ec8ed838b77b1020eea3bc7917a2d42573688a034feb921fde8b1858",
        filename="lora_sd3.5m_turbo_8steps.safetensors",
    ),
    _row(
        SD3, "flow", "sd35_large_turbox", "tensorart/stable-diffusion-3.5-large-TurboX", UNKNOWN_LICENCE,
        "fae59d1b749c0d14a8fd4c68cc94eaac92876cee7b91fa75cf8fde3160e09548",
        filename="",
    ),
    # no accelerators: listed so that their many layers are not taken for those of an LCM-LoRA
    _row(
        SDXL, "none", "spo_sdxl", "SPO-Diffusion-Models/SPO-SDXL_4k-p_10ep_LoRA", UNKNOWN_LICENCE,
        "0b9896f30d29daa5eedcfc9e7ad03304df6efc5114508f6ca9c328c0b4f057df",
        filename="spo_sdxl_10ep_4k-data_lora_diffusers.safetensors", megabytes=372, short="22c8339e7666",
    ),
    _row(
        SD15, "none", "spo_sd15", "SPO-Diffusion-Models/SPO-SD-v1-5_4k-p_10ep_LoRA", UNKNOWN_LICENCE,
        "1be130c5be2de0beacadd3bf0bafe3bedd7e7a380729932a1e369fb29efa86f4",
        filename="spo-sd-v1-5_4k-p_10ep_lora_diffusers.safetensors", size=3_227_464,
    ),
)  # fmt: skip

PUBLISHED: tuple[PublishedLora, ...] = (
    *_LCM,
    *_hyper(),
    *_lightning(),
    *_DMD2,
    *_TCD,
    *_pcm(),
    *_OTHERS,
)


def published_of_sha256(sha256: str) -> PublishedLora | None:
    """The published file whose content has this SHA-256 (hex, any case), or None."""
    digest = sha256.lower()
    return next((lora for lora in PUBLISHED if digest in lora.sha256), None)


def published_of_short(short: str) -> PublishedLora | None:
    """The published file whose hash by the WebUI begins with these 12 digits (hex, any case), or None.
    A1111's is of the tensors alone, Forge's of the whole file.
    """
    digits = short.lower()
    whole = (lora for lora in PUBLISHED if any(sha256.startswith(digits) for sha256 in lora.sha256))
    return next((lora for lora in PUBLISHED if digits in lora.short), next(whole, None))


def published_lcm(family: Family) -> PublishedLora | None:
    """The published LCM-LoRA of `family`, or None where there is none."""
    return next((lora for lora in PUBLISHED if lora.method == "lcm" and lora.family is family), None)


def offered() -> list[PublishedLora]:
    """What can be downloaded, the LCM-LoRAs first. What is not `is_open` needs a word of consent before."""
    return [lora for lora in PUBLISHED if lora.is_offered and lora.filename]


def named(name: str) -> PublishedLora | None:
    """The one of `offered` that has this name, or None."""
    return next((lora for lora in offered() if lora.name == name), None)
