from tfdefense.utils.progress import ProgressBar, print_line


def test_a_line_inside_a_new_bar_is_followed_by_the_whole_bar(capsys):
    with ProgressBar("purifying", 3) as bar:
        print_line("one is skipped")
        bar.advance(2)
    printed = capsys.readouterr()
    assert printed.out == "one is skipped\n"
    assert printed.err.endswith("\n")
    assert "purifying" in printed.err


def test_short_work_shows_no_bar(capsys):
    with ProgressBar("purifying", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr().err == ""
