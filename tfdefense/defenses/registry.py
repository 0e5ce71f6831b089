"""Registry of defences: command-line name -> class, imported on first use."""

from tfdefense.utils.registry import Registry

DEFENSES = Registry(
    "defense",
    {
        "adversarial_training": "tfdefense.defenses.adversarial_training:AdversarialTraining",
        "apegan": "tfdefense.defenses.ape_gan:APEGAN",
        "apeganpp": "tfdefense.defenses.ape_gan_pp:APEGANPlusPlus",
        "bit_depth": "tfdefense.defenses.bit_depth:BitDepth",
        "cgan": "tfdefense.defenses.cgan:ConditionalGAN",
        "defense_gan": "tfdefense.defenses.defense_gan:DefenseGAN",
        "denoised_smoothing": "tfdefense.defenses.denoised_smoothing:DenoisedSmoothing",
        "magnet": "tfdefense.defenses.magnet:MagNet",
        "robust_purifier": "tfdefense.defenses.robust_purifier:RobustPurifier",
        "spatial_smoothing": "tfdefense.defenses.spatial_smoothing:SpatialSmoothing",
        "total_variation": "tfdefense.defenses.total_variation:TotalVariation",
    },
)
