import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsdata import formats, view
from hsdata.cube import BAND_GRID, Cube
from hsdata.formats import hdf5
from hsdata.testing import smooth_cube
from hsdata.view.packing import quantised
from hsdata.view.scene import PIXELS, Map, Scene, step_of, viewer
from hsengine.base.errors import UserError


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16]), st.floats(1e-3, 1e4))
def test_no_value_is_stored_further_off_than_said(seed, bits, scale):
    values = np.random.default_rng(seed).random((3, 4, 5)).astype(np.float32) * np.float32(scale)
    planes = quantised(values, bits)
    # The widest step between neighbouring codes of a plane.
    assert 0.0 <= planes.mean <= planes.worst <= scale * 1.01 / (2**bits - 1)


def test_dark_values_are_stored_finer_than_bright_ones():
    values = np.array([[[0.0, 0.002, 1.0]]], dtype=np.float32)
    assert quantised(values, 8).worst < 2e-4 < 0.1 / 255


def test_values_that_are_not_finite_do_no_harm():
    planes = quantised(np.array([[[np.nan, np.inf, 2.0]], [[np.nan] * 3]], dtype=np.float32), 16)
    assert np.isfinite([*planes.low, *planes.high, planes.worst]).all()


def test_large_frames_are_thinned_to_what_a_page_can_hold():
    assert step_of(256, 256) == 1
    assert step_of(1024, 1024) == 4
    assert -(-1000 // step_of(1000, 700)) * -(-700 // step_of(1000, 700)) <= PIXELS


def test_what_is_stored_how_is_said():
    scene = Scene("scene", {"a": np.zeros((2, 300, 300), np.float32)}, np.array([500.0, 600.0]))
    assert "one pixel in 2" in viewer([scene]).part.html


def stored(folder, *seeds, size=8):
    for seed in seeds:
        hdf5.write(folder / f"{seed}.h5", smooth_cube(seed, size, size))
    return [folder / f"{seed}.h5" for seed in seeds]


def test_files_of_another_shape_are_scenes_of_their_own(tmp_path):
    files = [*stored(tmp_path, 1), *stored(tmp_path, 2, size=12)]
    assert view.run(files, tmp_path / "view.html").scenes == 2
    assert view.run(stored(tmp_path, 1, 3), tmp_path / "view.html").scenes == 1


def test_what_cannot_be_viewed_is_named(tmp_path):
    files = stored(tmp_path, 1)
    with pytest.raises(UserError, match=r"ends in \.html"):
        view.run(files, tmp_path / "view.png")
    with pytest.raises(UserError, match="more than once"):
        view.run(files * 2, tmp_path / "view.html")
    with pytest.raises(UserError, match="no cube at"):
        view.run([tmp_path / "absent.h5"], tmp_path / "view.html")
    assert not (tmp_path / "view.html").exists()


def test_numbers_without_wavelengths_are_shown_by_band(tmp_path):
    np.save(tmp_path / "raw.npy", np.random.default_rng(0).integers(0, 4096, (10, 12, 5)).astype(np.uint16))
    view.run([tmp_path / "raw.npy"], tmp_path / "view.html", axes="height,width,bands")
    assert '"quantity": "stored value"' in (tmp_path / "view.html").read_text()


def spectra(page):
    return page.evaluate("document.getElementById('spectra').data.map((trace) => Array.from(trace.y))")


def click(page, panel, row, column, size):
    box = page.locator(f"#panels figure:nth-child({panel}) canvas").bounding_box()
    place = [(part + 0.5) / size for part in (column, row)]
    page.mouse.click(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
    page.wait_for_function(f"document.getElementById('where').textContent.startsWith('Row {row}, column {column}')")
    page.wait_for_function("document.getElementById('spectra').data?.length > 0")
    page.wait_for_timeout(100)


def shade(page, panel):
    """The first pixel of a panel."""
    return page.evaluate(
        """(panel) => {
            const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
            copy.drawImage(document.querySelector(`#panels figure:nth-child(${panel}) canvas`), -1, -1);
            return Array.from(copy.getImageData(0, 0, 1, 1).data.slice(0, 3));
        }""",
        panel,
    )


@pytest.fixture
def shown(tmp_path, opened):
    files = stored(tmp_path, 1, 2)
    view.run(files, tmp_path / "view.html")
    page = opened(tmp_path / "view.html")
    page.wait_for_selector("#cubes[data-ready]")
    page.wait_for_selector("#spectra .main-svg")
    return page, [formats.open_cube(file).values for file in files]


def test_a_click_shows_the_spectra_that_the_arrays_hold(shown):
    page, cubes = shown
    click(page, 2, 5, 2, 8)
    for found, values in zip(spectra(page), cubes, strict=True):
        assert np.allclose(found, values[:, 5, 2], atol=2e-5)
    difference = page.evaluate("Array.from(document.getElementById('difference').data[0].y)")
    assert np.allclose(difference, cubes[1][:, 5, 2] - cubes[0][:, 5, 2], atol=4e-5)


def test_a_box_shows_the_mean_of_its_pixels_by_keyboard_too(shown):
    page, cubes = shown
    click(page, 1, 3, 3, 8)
    page.locator("#panels canvas").first.focus()
    for key in ("ArrowUp", "ArrowLeft", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_function("document.getElementById('where').textContent === 'Row 2 to 4, column 2 to 3, mean'")
    page.wait_for_timeout(100)
    assert np.allclose(spectra(page)[0], cubes[0][:, 2:5, 2:4].mean(axis=(1, 2)), atol=2e-5)


def test_the_slider_moves_through_the_bands(shown):
    page, cubes = shown
    colour = shade(page, 1)
    seen = set()
    for band in (0, 20, 60):
        page.locator("#band").fill(str(band))
        assert page.locator("#band-name").text_content() == f"{BAND_GRID[band]:g} nm"
        red, green, blue = shade(page, 1)
        assert red == green == blue
        seen.add(red)
        row = page.locator("#values tbody tr").first.locator("td").nth(1).text_content()
        assert float(row) == pytest.approx(cubes[0][band, 4, 4], rel=1e-3)
    assert len(seen) > 1
    page.locator("input[value=colour]").check()
    assert shade(page, 1) == colour


def test_false_colours_swipe_and_maps_follow_their_controls(shown):
    page, cubes = shown
    page.locator("#red").select_option("60")
    assert page.locator("input[value=false]").is_checked()
    both = shade(page, 4)
    page.locator("#swipe").fill("0")
    assert shade(page, 4) == shade(page, 2) != both
    first = shade(page, 3)
    page.locator("#map").select_option(label="mean over the bands")
    assert shade(page, 3) != first
    cells = page.locator("#values tbody tr", has_text="mean absolute difference").locator("td")
    expected = np.abs(cubes[1] - cubes[0]).mean(axis=0)[4, 4]
    assert float(cells.nth(1).text_content()) == pytest.approx(expected, rel=1e-2)


def test_scenes_take_turns(tmp_path, opened):
    files = [*stored(tmp_path, 1), *stored(tmp_path, 2, size=12)]
    view.run(files, tmp_path / "view.html")
    page = opened(tmp_path / "view.html", width=360)
    page.wait_for_selector("#cubes[data-ready='0']")
    page.locator("#scene").select_option("1")
    page.wait_for_selector("#cubes[data-ready='1']")
    click(page, 1, 9, 10, 12)
    assert np.allclose(spectra(page)[0], formats.open_cube(files[1]).values[:, 9, 10], atol=2e-5)


def test_a_map_of_a_scene_is_stored_beside_it():
    cube = Cube(np.zeros((2, 4, 4), np.float32), np.array([500.0, 600.0]))
    scene = Scene("scene", {"a": cube.values}, cube.wavelengths, maps=[Map("height", np.arange(16.0).reshape(4, 4))])
    assert set(viewer([scene]).data) == {"scene-0-cube-0", "scene-0-maps"}
