"""Live curves: one figure in one place, of all epochs so far."""

import pandas as pd

from lsdkit.notebook import live

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        **{name: [3.0, 2.0, 1.0] for name in ("loss", "expression", "affinity", "partition", "landmarks")},
        "val_macro_f1": [0.3, 0.5, 0.4],
        "val_loss": [1.5, 1.2, 1.3],
    }
)


def test_one_figure_is_drawn_again_after_each_epoch(tmp_path, monkeypatch):
    shown, changed = [], []

    class Place:
        def update(self, drawn):
            changed.append(drawn)

    def display(drawn, display_id):
        assert display_id is True
        shown.append(drawn)
        return Place()

    monkeypatch.setattr(live, "display", display)
    curves = live.LiveCurves(tmp_path)
    for epochs in (1, 2, 3):
        HISTORY[:epochs].to_csv(tmp_path / "history.csv", index=False)
        curves({"epoch": epochs})
    last = curves.show(HISTORY)
    assert (len(shown), len(changed)) == (1, 3)
    assert changed[-1] is last
    drawn = [figure.axes[0].lines[0].get_ydata().tolist() for figure in (*shown, *changed)]
    assert drawn == [[3.0], [3.0, 2.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]


def test_a_finished_run_is_shown_once(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", lambda drawn, display_id: shown.append(drawn))
    assert live.LiveCurves(tmp_path).show(HISTORY) is shown[0]
