# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Ties and deltas")

with app.setup:
    import altair as alt
    import marimo as mo
    import polars as pl

    from analysis import histograms, sections, source


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Ties and deltas

    How often do two completions of a prompt get the same rating, how far apart are they otherwise, and which
    words are behind the largest and the smallest differences?

    Open this notebook on a run, on a folder that `wim publish` wrote, or on a dataset on the Hub:

    ```
    marimo edit analysis/notebooks/deltas.py -- --source runs/wim/0
    ```

    `python analysis/notebooks/deltas.py --source runs/wim/0` prints the tie table.
    """)
    return


@app.cell
def _():
    where = mo.ui.text(
        value=str(mo.cli_args().get("source") or "runs/wim/0"),
        label="Run folder, dataset folder or OWNER/NAME on the Hub",
        full_width=True,
    )
    gap = mo.ui.slider(0.0, 0.1, step=0.005, label="A tie differs by at most this share of the scale", show_value=True)
    mo.vstack([where, gap])
    return gap, where


@app.cell
def _(where):
    found = source.read(where.value)
    return (found,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Ties

    Deltas are on each rating's own scale: only the normalised ones (by the width of the scale) and the effect
    (by the standard deviation) compare.
    """)
    return


@app.cell
def _(found, gap):
    ties = source.ties(found, gap.value)
    if mo.app_meta().mode == "script":
        print(ties)
    shares = dict.fromkeys(("tie_rate", "average_delta", "normalised_delta", "effect_delta"), "{:.4f}")
    mo.ui.table(ties, selection=None, pagination=False, show_download=False, format_mapping=shares)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Deltas of all judged pairs
    """)
    return


@app.cell
def _(found):
    bins = pl.concat(
        histograms.of_deltas(pairs, found.scales[method]).with_columns(method=pl.lit(method))
        for method, pairs in found.judged.items()
    )
    alt.Chart(bins).mark_bar().encode(
        alt.X("low:Q", bin="binned", title="Difference of the two ratings (% of the scale)", axis=alt.Axis(format="%")),
        alt.X2("high:Q"),
        alt.Y("share:Q", title="Share of judged pairs", axis=alt.Axis(format="%")),
        alt.Color("method:N", legend=None),
        alt.Row("method:N", title=None),
        tooltip=["method:N", alt.Tooltip("low:Q", format=".1%"), "count:Q", alt.Tooltip("share:Q", format=".1%")],
    ).properties(width=560, height=130)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The words behind the extremes

    The preference pairs with the largest and the smallest delta, on the run's own reward.
    """)
    return


@app.cell
def _(found):
    def words(pairs):
        return mo.accordion(
            {
                f"{place}. delta {pair['delta']:.4f}": mo.Html(
                    f'<div style="white-space: pre-wrap">{sections.in_words(pair)}</div>'
                )
                for place, pair in enumerate(pairs.iter_rows(named=True), start=1)
            }
        )

    ordered = found.pairs.sort("delta", "pair_id", descending=[True, False])
    mo.vstack([mo.md("### Largest"), words(ordered.head(5)), mo.md("### Smallest"), words(ordered.tail(5).reverse())])
    return


if __name__ == "__main__":
    app.run()
