"""The command `sneakerlib`: one verb per topic of the series."""

import argparse
import json
import sys
from pathlib import Path

from sneakerlib import InputError, __version__


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str):
        """Exit with 2."""
        self.exit(2, f"sneakerlib: {message}: see `{self.prog} --help`\n")


def _labels(text: str) -> list[str]:
    return [label.strip() for label in text.split(",") if label.strip()]


def parser() -> argparse.ArgumentParser:
    """Every verb and its options."""
    top = Parser(prog="sneakerlib", description="From a folder with one sub-folder per class to an honest classifier.")
    top.add_argument("--version", action="version", version=f"sneakerlib {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(function, text: str, *, labels: bool = False, split: bool = False) -> argparse.ArgumentParser:
        sub = verbs.add_parser(function.__name__.strip("_"), help=text, description=text)
        sub.set_defaults(call=function)
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        if labels:
            sub.add_argument("--labels", type=_labels, metavar="A,B,C", help="only these classes")
        if split:
            sub.add_argument("--val", type=float, default=0.15, help="fraction for validation (default: %(default)s)")
            sub.add_argument(
                "--test", type=float, default=0.15, help="fraction for the final test (default: %(default)s)"
            )
            sub.add_argument("--seed", type=int, default=0, help="same seed, same numbers (default: %(default)s)")
        return sub

    def features(sub: argparse.ArgumentParser) -> None:
        text = "do not look for pictures of something else, which needs TensorFlow"
        sub.add_argument("--no-features", dest="features", action="store_false", help=text)

    def hosts(sub: argparse.ArgumentParser) -> None:
        text = "a host of your own that may have a private address; may be given several times"
        sub.add_argument("--allow-host", action="append", default=[], metavar="HOST:PORT", help=text)

    sub = verb(_sample, "draw the embedded sample: invented sneakers with planted defects")
    sub.add_argument("out", metavar="OUT")
    sub.add_argument("--classes", type=int, default=5, help="2 to 23 (default: %(default)s)")
    sub.add_argument("--per-class", type=int, default=80, help="pictures per class (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    sub.add_argument("--no-defects", action="store_true", help="plant no defects")

    sub = verb(_collect, "search for pictures and download them; the same command again goes on", labels=True)
    sub.add_argument("terms", metavar="TERMS.csv", help="columns label, query, and perhaps limit, split, source")
    sub.add_argument("out", metavar="OUT")
    sub.add_argument(
        "--source",
        default="openverse",
        help="openverse, commons, duckduckgo, page, urls or sample, for terms that name none (default: %(default)s)",
    )
    sub.add_argument("--limit", type=int, metavar="N", help="results of a query at the most (default: what TERMS says)")
    sub.add_argument("--licence", type=_labels, default=[], metavar="CC0,BY", help="only these licences (default: any)")
    hosts(sub)

    sub = verb(_audit, "look at every picture and report what is wrong with it", labels=True)
    sub.add_argument("images", metavar="IMAGES")
    sub.add_argument("--out", metavar="findings.csv", help="write a row per picture and issue there")
    features(sub)

    sub = verb(_split, "audit a picture folder and split it into train, val and test", labels=True, split=True)
    sub.add_argument("images", metavar="IMAGES")
    sub.add_argument("--out", default="catalog.csv", help="splits of pictures in it are kept (default: %(default)s)")
    sub.add_argument("--decisions", metavar="FILE", help="CSV with path, action (keep, drop, quarantine) and reason")
    features(sub)

    sub = verb(_augment, "fill up small classes with changed copies of training pictures", labels=True, split=True)
    sub.add_argument("images", metavar="IMAGES|catalog.csv")
    sub.add_argument("out", metavar="OUT")
    sub.add_argument("--per-class", type=int, required=True, metavar="N", help="training pictures per class, at least")

    sub = verb(_train, "train a model folder", labels=True, split=True)
    sub.add_argument("images", metavar="IMAGES|catalog.csv")
    sub.add_argument("--out", required=True, metavar="MODEL")
    sub.add_argument(
        "--recipe",
        default="second-order",
        help="second-order, frozen, fine-tune or scratch (default: %(default)s)",
    )
    text = "the network to start from (default: %(default)s, which needs no download)"
    sub.add_argument("--backbone", default="efficientnet-lite0", help=text)
    sub.add_argument("--size", type=int, metavar="PX", help="picture size (default: the recipe's own)")
    sub.add_argument("--epochs", type=int, metavar="N", help="passes over the pictures (default: the recipe's own)")
    sub.add_argument("--class-weights", action="store_true", help="every class counts alike, few pictures or many")
    text = "keep small copies of the training pictures in MODEL, so that serve can show similar ones to whoever asks"
    sub.add_argument("--examples", action="store_true", help=text)
    sub.add_argument("--final", action="store_true", help="in the end, learn from the validation pictures as well")
    sub.add_argument("--logs", metavar="DIR", help="write logs for TensorBoard there")

    sub = verb(_evaluate, "score a model on pictures", labels=True)
    sub.add_argument("model", metavar="MODEL")
    sub.add_argument("images", metavar="IMAGES|catalog.csv")
    sub.add_argument("--split", default="test", choices=["train", "val", "test", "all"], help="(default: %(default)s)")
    sub.add_argument("--out", metavar="DIR", help="write predictions.csv and the confusion matrix there")

    sub = verb(_classify, "name what is on some pictures")
    sub.add_argument("model", metavar="MODEL")
    sub.add_argument("pictures", metavar="PICTURE_OR_URL", nargs="+")
    hosts(sub)

    sub = verb(_serve, "answer over HTTP: a page for people, an API for programs; Ctrl-C stops it")
    sub.add_argument("model", metavar="MODEL")
    text = "where to listen (default: %(default)s, which only this computer can reach)"
    sub.add_argument("--host", default="127.0.0.1", help=text)
    sub.add_argument("--port", type=int, default=5000, help="0 takes a free one (default: %(default)s)")
    sub.add_argument("--allow-urls", action="store_true", help="fetch pictures from the web for whoever asks")
    hosts(sub)

    sub = verb(_run, "run the notebook series headless", labels=True)
    sub.add_argument("--images", default="", metavar="DIR", help="your own pictures (default: the embedded sample)")
    sub.add_argument("--out", default="runs/default", metavar="RUN", help="(default: %(default)s)")
    sub.add_argument("--only", type=_labels, metavar="03,04", help="only these notebooks")
    sub.add_argument("--quick", action="store_true", help="smoke setting: everything runs, nothing is learned well")
    sub.add_argument("--resume", action="store_true", help="go on after the last finished notebook")
    sub.add_argument("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    return top


def _show(options: argparse.Namespace, content: dict, lines: list[str]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False) if options.json else "\n".join(lines))


def _sample(options):
    from sneakerlib.sample import dataset

    truth = dataset.make(options.out, options.classes, options.per_class, options.seed, not options.no_defects)
    counts = truth.defect.replace("", "good").value_counts().to_dict()
    _show(options, {"out": options.out, "pictures": counts}, [f"{count:>6} {name}" for name, count in counts.items()])


def _collect(options):
    from sneakerlib.scraping import collect, searchterms

    terms = searchterms.read(options.terms, options.limit, options.labels)
    found = collect.collect(
        terms,
        options.out,
        options.source,
        licences=options.licence,
        allow=options.allow_host,
        progress=not options.json,
    )
    pictures = found.catalog.label.value_counts().sort_index().to_dict()
    rejected = found.rejected.groupby("label").size().reindex(pictures, fill_value=0)
    lines = [f"{count:>6} {label} ({rejected[label]} rejected)" for label, count in pictures.items()]
    unfinished = found.unfinished.to_dict("records")
    content = {"out": options.out, "pictures": pictures, "rejected": len(found.rejected), "unfinished": unfinished}
    _show(options, content, [*lines, f"{options.out}: catalog.csv, rejected.csv and attribution.md say what and why"])
    for search in unfinished:
        print(f"sneakerlib: {search['label']}: {search['reason']}; the same command goes on", file=sys.stderr)
    return 1 if unfinished else 0


def _audit(options):
    from sneakerlib import catalog
    from sneakerlib.cleaning import audit
    from sneakerlib.runs import replacing

    table = catalog.read(options.images, options.labels)
    findings = audit.audit(table, progress=not options.json, features=options.features)
    if options.out:
        with replacing(options.out) as beside:
            findings.to_csv(beside, index=False, lineterminator="\n")
    summary = audit.summary(findings)
    lines = [f"{row.pictures:>6} {row.issue}: {row.decision}" for row in summary.itertuples()]
    content = {"pictures": len(table), "findings": dict(zip(summary.issue, map(int, summary.pictures), strict=True))}
    _show(options, content, [f"{len(table):>6} pictures", *lines])


def _split(options):
    from sneakerlib import catalog, pictures
    from sneakerlib.cleaning import audit

    table = audit.prepare(
        options.images,
        options.labels,
        options.val,
        options.test,
        options.seed,
        not options.json,
        earlier=options.out,
        decisions=options.decisions,
        features=options.features,
    )
    catalog.save(table, options.out)
    pictures.prepare(table, Path(options.out).with_suffix(".prepared"), progress=not options.json)
    counts = table.split.where(table.issue.eq(""), table.issue).value_counts().to_dict()
    _show(options, {"out": options.out, "pictures": counts}, [f"{count:>6} {name}" for name, count in counts.items()])


def _augment(options):
    from sneakerlib.cleaning import audit, augment

    table = audit.prepare(options.images, options.labels, options.val, options.test, options.seed, not options.json)
    made = augment.write(table, options.out, options.per_class, options.seed, progress=not options.json)
    copies = int(made.original.isin(made.path).sum())
    counts = made[made.split.eq("train")].label.value_counts().sort_index().to_dict()
    lines = [f"{count:>6} {label}" for label, count in counts.items()]
    content = {"out": options.out, "train": counts, "copies": copies}
    _show(options, content, [*lines, f"{options.out}: {copies} copies; train with {options.out}/catalog.csv"])


def _train(options):
    from sneakerlib.cleaning import audit
    from sneakerlib.learning import examples, model_folder, recipes

    chosen = recipes.Options(
        options.recipe,
        options.backbone,
        options.size,
        options.epochs,
        options.seed,
        options.class_weights,
        options.final,
        options.logs,
    )
    recipes.checked(chosen)
    table = audit.prepare(options.images, options.labels, options.val, options.test, options.seed)
    history = recipes.train(table, options.out, chosen, progress=not options.json)
    if options.examples:
        examples.keep(model_folder.load(options.out), table, progress=not options.json)
    best = model_folder.best_accuracy(history)
    _show(options, {"out": options.out, "val_accuracy": best}, [f"{options.out}: validation accuracy {best:.3f}"])


def _evaluate(options):
    from sneakerlib import evaluation
    from sneakerlib.cleaning import audit
    from sneakerlib.learning import model_folder

    def clean(rows):  # odd pictures count: the model will meet them
        return audit.apply(rows, audit.audit(rows, features=False))

    saved = model_folder.load(options.model)
    rows = evaluation.pictures_for(saved, options.images, options.split, options.labels, clean)
    table = saved.predictions(rows, None if options.split == "all" else options.split)
    numbers = evaluation.scores(table)
    if options.out:
        evaluation.write(table, options.out)
    low, high = numbers["accuracy_interval"]
    lines = [f"{name:<14} {numbers[name]:.4g}" for name in ("n", "accuracy", "macro_f1", "top3_accuracy", "ece")]
    _show(options, numbers, [*lines[:2], f"{'95 % interval':<14} {low:.4f} to {high:.4f}", *lines[2:]])


def _classify(options):
    from sneakerlib.learning import model_folder
    from sneakerlib.scraping import web

    model_folder.check(options.model)
    answers, lines, refused, saved = {}, [], [], None
    for name in options.pictures:
        try:
            content = web.content(name, options.allow_host)
            saved = saved or model_folder.load(options.model)  # late: a wrong path is named without waiting for it
            row = answers[name] = saved.classify(content, name=name)
        except InputError as error:
            refused.append(str(error))
            continue
        doubt = "" if saved.sure(row) else "not sure, perhaps "
        lines.append(f"{name}: {doubt}" + ", ".join(f"{label} {p:.3f}" for label, p in list(row.items())[:3]))
    if answers:
        _show(options, answers, lines)
    for reason in refused:
        print(f"sneakerlib: {reason}", file=sys.stderr)
    return 2 if refused else 0


def _serve(options):
    from sneakerlib.deployment import serving

    def say(address: str) -> None:
        _show(options, {"address": address}, [f"{address} answers; Ctrl-C stops it"])
        sys.stdout.flush()

    how = {"allow_urls": options.allow_urls, "allow_hosts": options.allow_host}
    serving.serve(options.model, options.host, options.port, say, **how)


def _run(options):
    from sneakerlib.scaling import runner

    given = {name: value for name, value in options.parameters}
    record = runner.run(options.out, options.images, options.labels, options.only, given, options.quick, options.resume)
    if options.json:
        print(json.dumps(record, indent=2))
    else:
        print(f"everything is in {options.out}: executed notebooks, results/*.json, figures/, models/")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb: 0 if all went well, 2 if something given is wrong, 1 if the work failed."""
    options = parser().parse_args(arguments)
    try:
        return options.call(options) or 0
    except InputError as error:
        print(f"sneakerlib: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "jax", "torch"):
            raise
        print(f"sneakerlib: {error.name} is not installed: pip install 'sneakerlib[tensorflow]'", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"sneakerlib: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # no space, no permission
        print(f"sneakerlib: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sneakerlib: stopped; the same command goes on (`sneakerlib run` with --resume)", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
