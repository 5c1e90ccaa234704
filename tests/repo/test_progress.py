from snap.repo.progress import SilentReporter


def test_the_silent_reporter_keeps_warnings_only() -> None:
    reporter = SilentReporter()
    reporter.start("task", None)
    reporter.advance(5, item="x")
    reporter.warn("careful")
    reporter.finish()
    assert reporter.warnings == ["careful"]
