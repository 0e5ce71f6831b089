from tfdefense.evaluation import Report
from tfdefense.evaluation.report.render import to_markdown


def test_recovery_is_the_share_of_images_that_fooled_the_classifier(report):
    for each in report.recoveries:
        fooled = report.per_image[f"none/{each.attack}/white_box"].predicted != report.labels
        fooled &= report.per_image["none/none/none"].predicted == report.labels
        grey_box = report.per_image[f"apeganpp/{each.attack}/grey_box"]
        correct = grey_box.predicted == report.labels
        assert each.n == fooled.sum()
        assert each.restored == (correct[fooled].mean() if each.n else 0)
        assert each.white_box == report.row("apeganpp", each.attack, "white_box").accuracy
    assert [each.attack for each in report.recoveries] == ["fgsm", "fgsm_predicted", "bim"]
    assert "Recovery of images that fooled the classifier" in to_markdown(report)
    assert Report.from_json(report.to_json()).recoveries == report.recoveries
