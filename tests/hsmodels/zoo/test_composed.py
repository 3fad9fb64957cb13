import pytest
import torch
from torch import nn

from hsdata.batches.augment import Geometry
from hsengine.base.errors import UserError
from hsmodels import zoo
from hsmodels.inference import Ensemble
from hsmodels.zoo.composed import Striped, bias_of

BANDS, SIZE = 5, 8


class Flat(nn.Module):
    """One channel to cubes of one value."""

    def forward(self, batch):
        return torch.full((len(batch), BANDS, *batch.shape[-2:]), 0.5)


def striped(width=12):
    model = Striped(Flat(), BANDS, width)
    nn.init.normal_(model.bias)
    return model


def turned(cube, geometry):
    """A whole frame's cube, cut and turned as the training sample is."""
    top, left, height, width = geometry.window()
    return torch.from_numpy(geometry.turn(cube[..., top : top + height, left : left + width].numpy()).copy())


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_the_stripes_follow_crops_flips_and_turns(rows, columns, transpose):
    model = striped()
    frame = 0.5 + model.bias.detach()[:, None, :].expand(-1, 12, -1)
    geometry = Geometry(2, 3, SIZE, SIZE, flip_rows=rows, flip_columns=columns, transpose=transpose)
    # Another sample beside it, which is not turned.
    shown = torch.from_numpy(geometry.columns().copy())[None].repeat(2, 1)
    cube = model(torch.zeros(2, 1, SIZE, SIZE), shown, torch.tensor([transpose, False]))
    torch.testing.assert_close(cube[0].detach(), turned(frame, geometry))


def test_the_bias_learns_from_the_columns_that_were_seen():
    model = striped()
    model(torch.zeros(1, 1, SIZE, SIZE), torch.arange(2, 2 + SIZE)[None], torch.tensor([False])).sum().backward()
    assert (model.bias.grad != 0).any(dim=0).tolist() == [2 <= column < 2 + SIZE for column in range(12)]


def test_the_bias_of_an_ensemble_is_weighted_as_its_members_are():
    first, second = striped(), striped()
    weights = torch.rand(2, BANDS).double().numpy()
    shares = torch.tensor(weights).float()[:, :, None, None]
    wanted = bias_of(first, 12) * shares[0] + bias_of(second, 12) * shares[1]
    torch.testing.assert_close(bias_of(Ensemble([first, second], weights), 12), wanted)
    alone = bias_of(Ensemble([first, Flat()], weights), 12)
    torch.testing.assert_close(alone, bias_of(first, 12) * torch.tensor(weights[0]).float()[:, None, None])


def test_a_wider_frame_than_was_learned_gets_no_stripes():
    assert bias_of(striped(12), 13) is None
    assert bias_of(striped(12), 10).shape == (BANDS, 1, 10)
    assert bias_of(Flat(), 10) is None


@pytest.mark.parametrize("track", [1, 2])
@pytest.mark.parametrize("base", ["ridge", "kernel_ridge", "mean_spectrum"])
def test_a_residual_begins_at_its_base(track, base):
    torch.manual_seed(0)
    batch = torch.rand(1, 1, 16, 16) if track == 1 else torch.rand(1, 3, 8, 8)
    cube = torch.rand(1, BANDS, 16, 16)
    model = zoo.for_track("example", track, {"width": 4}, bands=BANDS, residual=base)
    zoo.fit(zoo.base_of(model), [(batch, cube)])
    alone = zoo.for_track(base, track, {}, bands=BANDS)
    zoo.fit(alone, [(batch, cube)])
    assert torch.equal(model(batch), alone(batch))
    model(batch).square().mean().backward()
    assert float(model.gain.grad.abs().max()) > 0
    assert not [name for name, value in model.base.named_parameters() if value.requires_grad]


@pytest.mark.parametrize(
    ("name", "track", "around", "told"),
    [
        ("ridge", 2, {"residual": "ridge"}, "solved for"),
        ("ridge", 2, {"stripes": 8}, "solved for"),
        ("example", 2, {"residual": "example"}, "choose kernel_ridge, kernel_sum, mean_spectrum, ridge"),
        ("example", 2, {"residual": "rigde"}, "did you mean 'ridge'"),
        ("revsci_rgb", 1, {"residual": "ridge"}, "predicts RGB"),
    ],
)
def test_what_does_not_go_together_is_refused(name, track, around, told):
    with pytest.raises(UserError, match=told):
        zoo.for_track(name, track, {}, bands=BANDS, **around)
