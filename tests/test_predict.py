"""Predictions: brought to the pattern's own grid, refused where the network cannot know, and a start like any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import untwin
from untwin import cli, fourier
from untwin.data.cxi import write_pattern
from untwin.data.dataset import simulated
from untwin.data.measurement import Pattern
from untwin.data.optics import Optics
from untwin.data.read import read_object
from untwin.errors import InputError
from untwin.model.alignment import align
from untwin.model.inference import InputLayout, activations, layout_for, network_input, predict
from untwin.model.networks import weights
from untwin.model.networks.architecture import CdiNN
from untwin.model.networks.weights import Trained
from untwin.model.problem import Problem
from untwin.runs.names import parse
from untwin.runs.population import start
from untwin.simulate.bodies import Polygon
from untwin.simulate.crystals import simulation
from untwin.simulate.dataset import Crystals, write
from untwin.solve.begin import begin
from untwin.solve.predict import Predict, started
from untwin.solve.run import iterate
from untwin.solve.state import Member

SAMPLES = Crystals("cdi-nn-64", 4, 100).batch(range(3))


class Oracle(torch.nn.Module):
    """A network that knows the answer."""

    def __init__(self, of: CdiNN, box: torch.Tensor):
        super().__init__()
        self.output = torch.logit(of.targets(box), eps=1e-9)

    def forward(self, x):
        return self.output[: len(x)]


def oracle(form: int, image: torch.Tensor = SAMPLES.image, **card) -> Trained:
    of = CdiNN(form)
    return Trained("oracle", of, Oracle(of, CdiNN(64).truth(image)), card)


def pattern(image: torch.Tensor, **changes) -> Pattern:
    """Of an object (*grid), centred."""
    wave = fourier.forward(fourier.cornered(image, 2), 2)
    made = simulated((wave.abs().square()).numpy(), np.ones(image.shape, dtype=bool))
    return replace(made, **changes)


@pytest.mark.parametrize("form", [32, 64])
def test_what_a_perfect_network_says_is_the_object_in_the_patterns_own_grid(form):
    said = list(predict([pattern(x) for x in SAMPLES.image], oracle(form)))
    for one, truth in zip(said, SAMPLES.image):
        assert np.linalg.norm(one.image - truth.numpy()) < 1e-3 * float(truth.norm())
        assert one.misfit < 1e-3 and one.support[truth.numpy() != 0].mean() > 0.5 and not one.support[truth.numpy() == 0].any()


def test_a_pattern_that_reaches_further_is_cropped_and_the_object_comes_back_with_its_fine_pixels():
    """The 128 x 128 pattern of an object with nothing beyond the crop."""
    coarse = torch.zeros(1, 64, 64, dtype=torch.complex64)
    grid = torch.arange(64) - 32.0
    coarse[0] = torch.exp(-(grid[:, None] ** 2 / 40 + (grid - 1) ** 2 / 24)) * torch.exp(0.06j * grid * grid[:, None])
    wave = torch.zeros(128, 128, dtype=torch.complex64)
    k = [*range(32), *range(96, 128)]
    wave[np.ix_(k, k)] = fourier.forward(fourier.cornered(coarse[0], 2), 2)
    fine = fourier.centred(fourier.inverse(wave, 2), 2)
    one = next(predict([pattern(fine)], oracle(64, coarse)))
    assert one.image.shape == (128, 128)
    assert np.linalg.norm(one.image - fine.numpy()) < 5e-3 * float(fine.norm())


def test_every_other_pixel_is_the_pattern_in_half_the_field_of_view():
    fit = InputLayout((64, 64), (2, 2))
    box = fourier.cornered(CdiNN(64).truth(SAMPLES.image)[0] * SAMPLES.image[0].abs().max(), 2)
    kept = torch.from_numpy(fit.apply(pattern(SAMPLES.image[0]).intensity))
    folded = fourier.forward(box, 2).abs().square()
    assert torch.allclose(kept / kept.sum(), folded / folded.sum(), atol=1e-5)


def test_what_a_network_cannot_know_is_refused():
    net = oracle(64)
    one = pattern(SAMPLES.image[0])
    hidden = one.measured.copy()
    hidden[:4, :4] = hidden[-3:, :4] = hidden[:4, -3:] = hidden[-3:, -3:] = False
    wide = Crystals("cdi-nn", 4, 100).batch([0])
    flat = simulated(np.ones((16, 16), np.float32), np.ones((16, 16), bool))
    solid = Pattern(np.ones((32, 32, 32), np.float32), np.ones((32, 32, 32), bool))
    big = Crystals(replace(simulation("cdi-nn-64"), oversampling=1.2, body=Polygon(5)), 4, 100).pattern(0)
    for bad, words in [
        (flat, "too small"),
        (simulated(wide.intensity[0].numpy(), wide.measured[0].numpy()), "too small"),
        (solid, "3D"),
        (replace(one, measured=hidden), "not measured, in holes up to"),
        (big, "sampled too coarsely"),
        (Pattern.of_waves(np.ones((1, 64, 64), np.float32), optics=Optics(fresnel_numbers=(0.05,))), "exposures of another kind"),
    ]:
        with pytest.raises(InputError, match=words):
            layout_for(bad, net)
    assert layout_for(replace(one, measured=hidden), oracle(64, holes=True)).step == (1, 1)


def test_single_missing_pixels_are_filled_from_their_neighbours():
    one = pattern(SAMPLES.image[0])
    seen = one.measured.copy()
    seen[5, 9] = seen[40, 17] = False
    cut = replace(one, measured=seen, intensity=np.where(seen, one.intensity, 0))
    full, _ = network_input(one, InputLayout((64, 64), (1, 1)))
    filled, mask = network_input(cut, layout_for(cut, oracle(64)))
    assert mask.all() and (filled[~seen] > 0).all() and np.array_equal(filled[seen], full[seen])


def test_a_prediction_that_explains_its_pattern_badly_says_so():
    net = oracle(64, metrics={"misfit_95": 0.2})
    assert not next(predict([pattern(SAMPLES.image[0])], net)).warnings
    said = next(predict([pattern(SAMPLES.image[1])], net))
    assert said.misfit > 0.25 and "unlike its training data" in said.warnings[0]


@pytest.fixture
def model(tmp_path):
    weights.save(tmp_path / "w.safetensors", CdiNN(64).build(torch.Generator().manual_seed(0)), CdiNN(64), {})
    return str(tmp_path / "w.safetensors")


def test_a_start_has_the_prediction_and_its_support(model):
    problem = Problem.of(pattern(SAMPLES.image[0]))
    recipe = parse(f"Predict({model!r}, variety=0.5, every=1)")
    assert parse(repr(recipe)) == recipe
    (state,) = iterate(problem, recipe, begin(problem, (0, 1, 2)))
    said = next(predict([problem.pattern], model))
    image = fourier.cornered(torch.from_numpy(said.image), 2)
    assert torch.equal(state.x[0], image.where(state.support[0], image.new_zeros(())))
    assert not torch.equal(state.x[1], state.x[2]) and float(align(state.x[1:2], state.x[0], 2).error) < 0.9
    assert bool((state.support <= state.bounds).all()) and bool((state.x == 0)[~state.support].all())


def test_one_of_two_families_knows_nothing_of_the_prediction(model):
    problem = Problem.of(pattern(SAMPLES.image[0]))
    before = begin(problem, [Member(seed=seed, family=i % 2) for i, seed in enumerate((4, 6, 9, 11))])
    (after,) = iterate(problem, Predict(model), before)
    same = [torch.equal(after.x[i], before.x[i]) and torch.equal(after.support[i], before.support[i]) for i in range(4)]
    assert same == [False, True, False, True]


def test_a_start_that_stands_in_knows_as_little_as_the_one_that_failed(model):
    problem = Problem.of(pattern(SAMPLES.image[0]))
    stand_ins = [start(0, number, number % 2, attempt) for number in range(6) for attempt in (1, 2)]
    before = begin(problem, stand_ins)
    (after,) = iterate(problem, Predict(model), before)
    assert [torch.equal(a, b) for a, b in zip(after.x, before.x)] == [m.family == 1 for m in stand_ins]


def test_families_that_share_a_prediction_are_no_evidence_for_each_other(model):
    one, text = pattern(SAMPLES.image[0]), f"Predict({model!r}, variety=0.0, every={{}}) + 5*ER"
    shared = untwin.reconstruct(one, untwin.plans.Plan(untwin.plans.Search(parse(text.format(1)), starts=3, families=3)), workers=1)
    assert np.isnan(shared.numbers["agreement"]) and shared.verdict.trusted is None and "nothing independent" in shared.verdict.text
    mixed = untwin.reconstruct(one, untwin.plans.Plan(untwin.plans.Search(parse(text.format(2)), starts=3, families=3)), workers=1)
    assert mixed.numbers["agreement"] > 0.3  # two of three are the same prediction, and only the other one counts


@pytest.mark.parametrize("wrapped", ["Mean({})", "Proximal(Mean({}))"])
@pytest.mark.parametrize("stage", ["Search({0} + ER, starts=3, families=3)", "Search(ER, starts=3, families=3), Finish(({0} + ER,), 1, 1)"])
def test_a_prediction_is_seen_wherever_it_stands(model, wrapped, stage):
    predict = wrapped.format(f"Predict({model!r}, variety=0.0, every=1)")
    solution = untwin.reconstruct(pattern(SAMPLES.image[0]), f"Plan({stage.format(predict)})", workers=1)
    assert np.isnan(solution.numbers["agreement"]) and solution.verdict.trusted is None


def test_reconstruct_begins_where_it_is_told(model):
    solution = untwin.reconstruct(pattern(SAMPLES.image[0]), "5*ER", start=f"predict:{model}", starts=2, workers=1)
    assert solution.recipe.startswith("Plan(Search(Predict(model=") and "5*ER" in solution.recipe
    for bad, words in [("predicted", "expected random, predict"), ("predict:", "expected random"), ("predict:none", "no model 'none'")]:
        with pytest.raises(InputError, match=words):
            started(bad)
    assert started("random") is None and started(f"predict:{model}") == Predict(model)


def test_activations_are_those_of_the_layers(model):
    maps, seen, image = activations(pattern(SAMPLES.image[0]), weights.load(model))
    assert len(maps) == 24 and maps[0][1].shape == (32, 32, 32) and maps[0][0].startswith("nets.magnitude")
    assert all((m >= 0).all() for _, m in maps) and seen.shape == (64, 64) and image.shape == (32, 32)


def test_the_command_line_writes_one_object_per_pattern(tmp_path, capsys, model):
    write(tmp_path / "set", "cdi-nn-64", 2, 3)
    write_pattern(tmp_path / "one.cxi", pattern(SAMPLES.image[0]), process={})
    out, picture = tmp_path / "out", tmp_path / "maps.png"
    command = ["predict", str(tmp_path / "one.cxi"), str(tmp_path / "set"), "--model", model, "-o", str(out)]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--activations", str(picture)])
    assert not stop.value.code
    assert sorted(p.name for p in out.iterdir()) == ["one.cxi", *(f"set-{i:06d}.cxi" for i in range(3))]
    said = next(predict([pattern(SAMPLES.image[0])], model))
    found = read_object(out / "one.cxi")
    assert np.allclose(found.image, said.image, atol=1e-4 * np.abs(said.image).max()) and found.support.sum() == said.support.sum()
    assert picture.read_bytes().startswith(b"\x89PNG") and "4 in" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 2 and "one.cxi exists" in capsys.readouterr().err


def test_of_several_patterns_the_one_that_is_refused_is_named(tmp_path, capsys, model):
    write_pattern(tmp_path / "good.cxi", pattern(SAMPLES.image[0]), process={})
    hidden = np.ones((64, 64), dtype=bool)
    hidden[20:30, 20:30] = False
    write_pattern(tmp_path / "holed.cxi", pattern(SAMPLES.image[1], measured=hidden), process={})
    for names, words in ((["good.cxi", "holed.cxi"], "holed, of 2 patterns, and none was predicted: "), (["holed.cxi"], "untwin: 2")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["predict", *(str(tmp_path / n) for n in names), "--model", model, "-o", str(tmp_path / "out")])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and words in error and "not measured, in holes" in error and not (tmp_path / "out").exists()


def test_the_shipped_network_knows_the_objects_that_it_was_trained_on():
    """Whoever changes the input, the simulator or the weights hears of it here."""
    data = Crystals("cdi-nn", 31_415, 100)
    said = list(predict([data.pattern(i) for i in range(48)], "cdi-nn"))
    errors = [
        float(align(fourier.cornered(torch.from_numpy(one.image), 2).unsqueeze(0), fourier.cornered(data[i]["image"], 2), 2).error)
        for i, one in enumerate(said)
    ]
    assert np.median(errors) < 0.5 and sum(bool(one.warnings) for one in said) < 10
