"""The command `sneakerlib`: one verb per topic of the series. Options are called as the rooms call them."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

from sneakerlib import InputError, __version__, check_number


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str):
        """Exit with 2."""
        self.exit(2, f"sneakerlib: {message}: see `{self.prog} --help`\n")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def parser() -> argparse.ArgumentParser:
    """Every verb and its options."""
    top = Parser(prog="sneakerlib", description="From a folder with one sub-folder per class to an honest classifier.")
    top.add_argument("--version", action="version", version=f"sneakerlib {__version__}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    default = " (default: %(default)s)"
    shared = {  # options that several verbs have
        "--json": {"help": "print the result as JSON", "action": "store_true"},
        "--labels": {"help": "only these classes", "type": _names, "metavar": "A,B,C"},
        "--val": {"help": "fraction for validation" + default, "type": float, "default": 0.15},
        "--test": {"help": "fraction for the final test" + default, "type": float, "default": 0.15},
        "--seed": {"help": "same seed, same numbers" + default, "type": int, "default": 0},
        "--no-features": {"help": "do not look for pictures of something else, which needs TensorFlow"},
        "--allow-host": {"help": "a host of your own that may have a private address; may be given several times"},
    }
    shared["--no-features"] |= {"dest": "features", "action": "store_false"}
    shared["--allow-host"] |= {"dest": "allow", "action": "append", "default": [], "metavar": "HOST:PORT"}
    split = ("--labels", "--val", "--test", "--seed")

    def verb(function, text: str, *options: str):
        sub = verbs.add_parser(function.__name__.strip("_"), help=text, description=text)
        sub.set_defaults(call=function)
        for name in ("--json", *options):
            sub.add_argument(name, **shared[name])
        return sub.add_argument

    add = verb(_sample, "draw the embedded sample: invented sneakers with planted defects", "--seed")
    add("out", metavar="OUT")
    add("--classes", type=int, default=5, help="2 to 23" + default)
    add("--per-class", type=int, default=160, help="pictures per class" + default)

    add = verb(
        _collect, "search for pictures and download them; the same command again goes on", "--labels", "--allow-host"
    )
    add("file", metavar="TERMS.csv", help="columns label, query, and perhaps limit, split, source")
    add("out", metavar="OUT")
    add("--source", default="openverse", help="openverse, commons, duckduckgo, page, urls or sample" + default)
    add("--limit", type=int, metavar="N", help="results of a query at the most (default: what TERMS says)")
    add("--licence", dest="licences", type=_names, default=[], metavar="CC0,BY", help="only these (default: any)")

    add = verb(_audit, "look at every picture and report what is wrong with it", "--labels", "--no-features")
    add("images", metavar="IMAGES")
    add("--out", metavar="findings.csv", help="write a row per picture and issue there")

    add = verb(_split, "audit a picture folder and split it into train, val and test", *split, "--no-features")
    add("source", metavar="IMAGES")
    add("--out", default="catalog.csv", help="splits of pictures in it are kept" + default)
    add("--decisions", metavar="FILE", help="CSV with path, action (keep, drop, quarantine) and reason")

    add = verb(_augment, "fill up small classes with changed copies of training pictures", *split)
    add("source", metavar="IMAGES|catalog.csv")
    add("out", metavar="OUT")
    add("--per-class", type=int, required=True, metavar="N", help="training pictures per class, at least")

    add = verb(_train, "train a model folder", *split)
    add("source", metavar="IMAGES|catalog.csv")
    add("--out", required=True, metavar="MODEL")
    add("--recipe", default="second-order", help="second-order, frozen, fine-tune or scratch" + default)
    add("--backbone", default="efficientnet-lite0", help="the network to start from" + default)
    add("--size", type=int, metavar="PX", help="picture size (default: the recipe's own)")
    add("--epochs", type=int, metavar="N", help="passes over the pictures (default: the recipe's own)")
    add("--class-weights", action="store_true", help="every class counts alike, few pictures or many")
    add("--examples", action="store_true", help="keep small training pictures, so that serve can show similar ones")
    add("--final", action="store_true", help="in the end, learn from the validation pictures as well")
    add("--logs", metavar="DIR", help="write logs for TensorBoard there")

    add = verb(_evaluate, "score a model on pictures", "--labels")
    add("model", metavar="MODEL")
    add("source", metavar="IMAGES|catalog.csv")
    add("--split", default="test", choices=["train", "val", "test", "all"], help=default.strip())
    add("--out", metavar="DIR", help="write predictions.csv and the confusion matrix there")

    add = verb(_classify, "name what is on some pictures", "--allow-host")
    add("model", metavar="MODEL")
    add("pictures", metavar="PICTURE_OR_URL", nargs="+")

    add = verb(_serve, "answer over HTTP: a page for people, an API for programs; Ctrl-C stops it", "--allow-host")
    add("model", metavar="MODEL")
    add("--host", default="127.0.0.1", help="where to listen; 0.0.0.0 lets other computers ask" + default)
    add("--port", type=int, default=5000, help="0 takes a free one" + default)
    add("--allow-urls", action="store_true", help="fetch pictures from the web for whoever asks")

    add = verb(_run, "run the notebook series headless", "--labels")
    add("--images", default="", metavar="DIR", help="your own pictures (default: the embedded sample)")
    add("--out", default="runs/default", metavar="RUN", help=default.strip())
    add("--only", type=_names, metavar="03,04", help="only these notebooks")
    add("--quick", action="store_true", help="smoke setting: everything runs, nothing is learned well")
    add("--resume", action="store_true", help="go on after the last finished notebook")
    add("-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    return top


def _show(options: argparse.Namespace, content: dict, lines: list[str] | None = None) -> None:
    """Say what came out: as JSON for programs; for people as these lines, or one per number."""
    plain = "utf" not in sys.stdout.encoding.lower()  # a console that cannot show every letter
    text = json.dumps(content, indent=2, ensure_ascii=plain) if options.json else "\n".join(lines or _numbers(content))
    print(text, flush=True)


def _numbers(content: dict) -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif value is None:
            yield f"     not known: {name}"
        elif isinstance(value, int | float):
            yield f"{round(value, 4):>8} {name}"


def _complain(reason) -> None:
    print(f"sneakerlib: {reason}", file=sys.stderr)


def _call(function, options: argparse.Namespace, **more):
    """Call what a room offers with those options that it has parameters for."""
    known = vars(options) | {"progress": not options.json} | more
    return function(**{name: known[name] for name in signature(function).parameters if name in known})


def _sample(options):
    from sneakerlib.sample import dataset

    defects = _call(dataset.make, options).defect.replace("", "good")
    _show(options, {"out": options.out, "pictures": defects.value_counts().to_dict()})


def _collect(options):
    from sneakerlib.scraping import collect, searchterms

    found = _call(collect.collect, options, terms=_call(searchterms.read, options))
    pictures, unfinished = found.catalog.label.value_counts(), found.unfinished.to_dict("records")
    content = {"out": options.out, "pictures": pictures.sort_index().to_dict(), "rejected": len(found.rejected)}
    _show(options, content | {"unfinished": unfinished})
    for search in unfinished:
        _complain(f"{search['label']}: {search['reason']}; the same command goes on")
    return 1 if unfinished else 0


def _audit(options):
    from sneakerlib import catalog
    from sneakerlib.cleaning import audit
    from sneakerlib.tables import write_csv

    table = catalog.read(options.images, options.labels)
    findings = _call(audit.audit, options, catalog=table)
    if options.out:
        write_csv(options.out, findings)
    summary = audit.summary(findings)
    lines = [f"{row.pictures:>8} {row.issue}: {row.decision}" for row in summary.itertuples()]
    content = {"pictures": len(table), "findings": summary.set_index("issue").pictures.to_dict()}
    _show(options, content, [f"{len(table):>8} pictures", *lines])


def _split(options):
    from sneakerlib import catalog, pictures
    from sneakerlib.cleaning import audit

    table = _call(audit.prepare, options, earlier=options.out)
    catalog.save(table, options.out)
    pictures.prepare(table, Path(options.out).with_suffix(".prepared"), progress=not options.json)
    counts = table.split.where(table.issue.eq(""), table.issue).value_counts().to_dict()
    _show(options, {"out": options.out, "pictures": counts})


def _augment(options):
    from sneakerlib.cleaning import audit, augment

    made = _call(augment.write, options, catalog=_call(audit.prepare, options))
    counts = made[made.split.eq("train")].label.value_counts().sort_index().to_dict()
    copies = int(made.original.isin(made.path).sum())
    _show(options, {"out": options.out, "train": counts, "copies": copies})


def _train(options):
    from sneakerlib.cleaning import audit
    from sneakerlib.learning import examples, model_folder, recipes

    chosen = _call(recipes.Options, options)
    recipes.checked(chosen)  # a wrong option is told before the audit
    table = _call(audit.prepare, options)
    history = recipes.train(table, options.out, chosen, progress=not options.json)
    if options.examples:
        examples.keep(model_folder.load(options.out), table, progress=not options.json)
    _show(options, {"out": options.out, "val_accuracy": model_folder.best_accuracy(history)})


def _evaluate(options):
    from sneakerlib import evaluation
    from sneakerlib.cleaning import audit
    from sneakerlib.learning import model_folder

    saved = model_folder.load(options.model)
    rows = _call(evaluation.pictures_for, options, saved=saved)
    if rows.group.eq("").all():  # never audited; pictures of something else count, as the model will meet them
        rows = audit.apply(rows, audit.audit(rows, progress=not options.json, features=False))
    table = saved.predictions(rows, None if options.split == "all" else options.split)
    numbers = evaluation.scores(table)
    if options.out:
        evaluation.write(table, options.out)
    low, high = numbers["accuracy_interval"]
    _show(options, numbers, [*_numbers(numbers), f"{low:.4f} to {high:.4f}: 95 % interval of the accuracy"])


def _classify(options):
    from sneakerlib.learning import model_folder
    from sneakerlib.scraping import web

    model_folder.check(options.model)
    answers, lines, saved = {}, [], None
    for name in options.pictures:
        try:
            content = web.content(name, options.allow)
            saved = saved or model_folder.load(options.model)  # late: a wrong path is named without waiting for it
            row = answers[name] = saved.classify(content, name=name)
            doubt = "" if saved.sure(row) else "not sure, perhaps "
            lines.append(f"{name}: {doubt}" + ", ".join(f"{label} {p:.3f}" for label, p in list(row.items())[:3]))
        except InputError as error:
            _complain(error)
    if answers:
        _show(options, answers, lines)
    return 0 if len(answers) == len(set(options.pictures)) else 2


def _serve(options):
    from sneakerlib.deployment import serving

    def say(address: str) -> None:
        _show(options, {"address": address}, [f"{address} answers; Ctrl-C stops it"])

    how = {"allow_urls": options.allow_urls, "allow_hosts": options.allow}
    serving.serve(options.model, options.host, options.port, say, **how)


def _run(options):
    from sneakerlib.scaling import runner

    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):  # a line per notebook
        record = _call(runner.run, options, parameters=dict(options.parameters))
    _show(options, record, [f"everything is in {options.out}: executed notebooks, results/*.json, figures/, models/"])


def main(arguments: list[str] | None = None) -> int:
    """Run one verb: 0 if all went well, 2 if something given is wrong, 1 if the work failed."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a name that the console lacks letters for ends nothing
    options = parser().parse_args(arguments)
    try:
        for name, value in vars(options).items():
            if isinstance(value, int | float):
                check_number(name, value)
        return options.call(options) or 0
    except (InputError, RuntimeError, OSError) as error:  # the latter: no space, no permission
        _complain(error)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        _complain("stopped; the same command goes on (`sneakerlib run` with --resume)")
        return 130


if __name__ == "__main__":
    sys.exit(main())
