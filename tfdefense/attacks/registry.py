"""Registry of attacks by name. A new attack is one file in this folder and one line here.

The attacks of other libraries are in `tfdefense.adapters`, which is imported on first use.
"""

from tfdefense.utils.registry import Registry

ATTACKS = Registry(
    "attack",
    {
        "apgd_ce": "tfdefense.attacks.apgd:APGDCE",
        "apgd_dlr": "tfdefense.attacks.apgd:APGDDLR",
        "apgd_t": "tfdefense.attacks.apgd:APGDT",
        "auto_attack": "tfdefense.attacks.auto_attack:AutoAttack",
        "bim": "tfdefense.attacks.bim:BIM",
        "cw": "tfdefense.attacks.carlini_wagner:CarliniWagnerL2",
        "deepfool": "tfdefense.attacks.deepfool:DeepFool",
        "fab_t": "tfdefense.attacks.fab:FABT",
        "fgsm": "tfdefense.attacks.fgsm:FGSM",
        "fgsm_predicted": "tfdefense.attacks.fgsm:FGSMPredicted",
        "hop_skip_jump": "tfdefense.attacks.hop_skip_jump:HopSkipJump",
        "jsma": "tfdefense.attacks.jsma:JSMA",
        "mim": "tfdefense.attacks.mim:MIM",
        "pgd": "tfdefense.attacks.pgd:PGD",
        "square": "tfdefense.attacks.square:Square",
    },
)

ATTACK_LIBRARIES = Registry(
    "attack library",
    {
        "art": "tfdefense.adapters.art_attacks:ArtAttack",
        "cleverhans": "tfdefense.adapters.cleverhans_attacks:CleverhansAttack",
        "foolbox": "tfdefense.adapters.foolbox_attacks:FoolboxAttack",
    },
)
"""Libraries whose attacks are named `library:NAME:key=value`; each is a `ForeignAttack`."""
