import pytest
import torch

from hsengine.base.errors import UserError
from hsmodels import zoo
from hsmodels.zoo.basis import Basis

BANDS = 12
SMALL = {
    "mstpp": {"n_feat": 8, "stage": 1},
    "mst_plus_plus": {"n_feat": 8, "stage": 1},
    "mst_plus_plus_up": {"n_feat": 8, "stage": 1},
    "raw2hsi": {"base_ch": 8, "n_blocks": 1},
    "revsci_mstpp": {"n_blocks": 2, "n_feat": 8, "stage": 1},
    "revsci_mstpp_up": {"n_blocks": 2, "n_feat": 8, "stage": 1},
    "revsci_mstpp_no_pretrain": {"n_blocks": 2, "n_feat": 8, "stage": 1},
    "example": {"width": 4},
}
NETWORKS = [
    (name, track)
    for track in (1, 2)
    for name in zoo.names(track)
    if zoo.is_trained(name) and zoo.target_of(name) != "rgb_full"
]


def cubes(rank=3, noise=0.0, count=3):
    """Cubes whose spectra lie on a mean and `rank` others, but for noise."""
    generator = torch.Generator().manual_seed(rank)
    spectra = torch.rand(rank + 1, BANDS, generator=generator)
    for _ in range(count):
        weights = torch.rand(1, rank, 10, 70, generator=generator)
        cube = spectra[0][:, None, None] + torch.einsum("brhw,rc->bchw", weights, spectra[1:])
        yield cube + noise * torch.randn(cube.shape, generator=generator)


def learnt(rank, made):
    basis = Basis(BANDS, rank)
    basis.fit(made)
    return basis


def reproduced(basis, cube):
    return basis.mean[:, None, None] + basis(basis.coefficients(cube))


@pytest.mark.parametrize("rank", [1, 2, 3, 5])
def test_the_training_spectra_are_reproduced_to_the_stated_error(rank):
    made = list(cubes(noise=0.05))
    basis = learnt(rank, made)
    whole = torch.cat(made)
    left = (reproduced(basis, whole) - whole).square().mean().sqrt() / whole.square().mean().sqrt()
    assert float(basis.error) > 0.005
    assert float(left) == pytest.approx(float(basis.error), rel=1e-3)


def test_as_many_spectra_as_bands_are_exact_to_rounding():
    made = list(cubes(noise=0.05))
    basis = learnt(BANDS, made)
    assert float(basis.error) == 0.0
    torch.testing.assert_close(reproduced(basis, made[0]), made[0], rtol=1e-5, atol=1e-5)


def test_spectra_of_few_materials_need_few_components():
    made = list(cubes(rank=3))
    basis = learnt(3, made)
    assert float(basis.error) < 1e-4
    torch.testing.assert_close(reproduced(basis, made[1]), made[1], rtol=1e-4, atol=1e-4)


def test_signs_are_fixed_and_the_order_of_the_samples_does_not_matter():
    made = list(cubes(noise=0.05))
    first, second = learnt(4, made), learnt(4, made[::-1])
    largest = first.spectra.gather(1, first.spectra.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()
    torch.testing.assert_close(first.spectra @ first.spectra.T, torch.eye(4), atol=1e-5, rtol=0)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name])


def test_the_same_spectrum_everywhere_is_its_own_basis():
    basis = learnt(2, [torch.full((1, BANDS, 4, 4), 0.25)])
    assert torch.isfinite(basis.scale).all()
    assert float(basis.error) < 1e-6
    torch.testing.assert_close(basis.mean, torch.full((BANDS,), 0.25))


@pytest.mark.parametrize(("name", "track"), NETWORKS)
@pytest.mark.parametrize("residual", ["none", "ridge"])
def test_any_network_weighs_spectra(name, track, residual):
    torch.manual_seed(0)
    batch = torch.rand(1, 1, 16, 16) if track == 1 else torch.rand(1, 3, 8, 8)
    cube = torch.rand(1, BANDS, 16, 16)
    model = zoo.for_track(
        name, track, SMALL.get(name, {}), bands=BANDS, trained=True, residual=residual, stripes=16, basis=3
    )
    basis, base = zoo.basis_of(model), zoo.base_of(model)
    basis.fit([cube])
    if base is not None:
        zoo.fit(base, [(batch, cube)])
        torch.nn.init.constant_(model.net.gain, 0.5)
    with torch.no_grad():
        made = model.eval()(batch)
        change = made - (basis.mean[:, None, None] if base is None else base(batch))
    assert made.shape == cube.shape
    # Nothing but the basis is added.
    weights = torch.einsum("bchw,rc->brhw", change, basis.spectra)
    torch.testing.assert_close(torch.einsum("brhw,rc->bchw", weights, basis.spectra), change, rtol=1e-4, atol=1e-5)
    assert float(change.abs().max()) > 0


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("ridge", {}, "'ridge' is solved for, not trained: .*'basis' to 0"),
        ("revsci_rgb_up", {}, "predicts RGB, not cubes"),
        ("mstpp", {"out_channels": BANDS}, "leave its parameter 'out_channels' out"),
    ],
)
def test_what_cannot_weigh_spectra_is_refused(name, params, told):
    with pytest.raises(UserError, match=told):
        zoo.for_track(name, 2, params, bands=BANDS, basis=3)


def test_more_spectra_than_bands_are_refused():
    with pytest.raises(UserError, match="basis: 13 spectra cannot be independent, as cubes have 12 bands: at most 12"):
        zoo.for_track("example", 2, {}, bands=BANDS, basis=13)


def test_the_title_says_so():
    model = {"name": "mstpp", "basis": 16, "residual": "ridge", "stripes": 4}
    assert zoo.title(model) == "mstpp on 16 spectra over ridge with stripes"
