"""Registry of attacks by name. A new attack is one file in this folder and one line here."""

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
        "jsma": "tfdefense.attacks.jsma:JSMA",
        "mim": "tfdefense.attacks.mim:MIM",
        "pgd": "tfdefense.attacks.pgd:PGD",
        "square": "tfdefense.attacks.square:Square",
    },
)
