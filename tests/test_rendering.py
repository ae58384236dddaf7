"""Fonts, tiles, numbers and compositions against plain numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from podarcade.envs.rendering import canvas, cards, font, grid, sprites

GREY, RED = (40, 50, 60), (200, 10, 20)


@functools.cache
def _draw_number(scale):
    page = canvas.rows(canvas.enlarge(canvas.blank(128, 128, GREY), scale))
    return jax.jit(jax.vmap(lambda value: canvas.compose(page, [canvas.number(value, GREY, RED, scale)])))


def test_letters_differ_and_fill_their_block():
    for letters in ("0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"):
        shapes = [font.glyph(letter) for letter in letters]
        assert len({ink.tobytes() for ink in shapes}) == len(letters)
        for letter, ink in zip(letters, shapes, strict=True):
            assert ink.shape == (font.HEIGHT, font.WIDTH)
            assert ink[0].any() and ink[-1].any(), letter


def test_unknown_letter_lists_the_known_ones():
    with pytest.raises(ValueError, match="ABC"):
        font.glyph("ä")


def test_text_sets_letters_side_by_side():
    line = font.text("AB")
    assert line.shape == (7, 11)
    assert not line[:, 5].any()
    np.testing.assert_array_equal(line[:, 6:], font.glyph("B"))


@pytest.mark.parametrize("scale", [1, 2])
def test_number_is_centred_text_without_leading_zeros(scale):
    values = [0, 7, 10, 54, 99, 100, 305, 999]
    frames = np.asarray(_draw_number(scale)(jnp.array(values)))
    for value, frame in zip(values, frames, strict=True):
        ink = font.text(str(value))
        width = ink.shape[1] * 2 + 2  # the pitch of a digit includes an empty column on each side
        expected = canvas.stamp(canvas.blank(128, 128, GREY), ink, 1, 64 - width // 2 + 1, RED, size=2)
        np.testing.assert_array_equal(frame, canvas.enlarge(expected, scale), err_msg=str(value))


def test_all_numbers_look_different_and_large_ones_stop_at_999():
    frames = np.asarray(_draw_number(1)(jnp.arange(1001)))[:, :16]
    assert len({frame.tobytes() for frame in frames[:1000]}) == 1000
    np.testing.assert_array_equal(frames[1000], frames[999])


@pytest.mark.parametrize("width", [6, 8])
def test_tiles_are_laid_by_row_and_column(width):
    generator = np.random.default_rng(0)
    atlas = generator.integers(0, 256, (90, 3, width, 3), dtype=np.uint8)
    index = generator.integers(0, 90, (2, 4), dtype=np.int8)
    board = np.asarray(jax.jit(lambda index: canvas.tiles(atlas, index))(index)).reshape(6, 4 * width, 3)
    expected = np.concatenate([np.concatenate([atlas[tile] for tile in row], 1) for row in index])
    np.testing.assert_array_equal(board, expected)


def test_pairs_of_tiles_are_tiles():
    generator = np.random.default_rng(0)
    atlas = generator.integers(0, 256, (5, 3, 8, 3), dtype=np.uint8)
    index = generator.integers(0, 5, (4, 6)).astype(np.int8)
    pairs, tiles = jax.jit(lambda index: (grid.pairs(grid.paired(atlas), index), canvas.tiles(atlas, index)))(index)
    np.testing.assert_array_equal(pairs, tiles)


@pytest.mark.parametrize("board", [8, 10, 12])
def test_grid_lines_close_around_a_board(board):
    page = grid.page(GREY, RED, board, "TITLE", (1, 2, 3))
    side, left, end = grid.cell_side(board), grid.left(board), grid.TOP + grid.panel_side(board)
    tile = grid.tile(side, (0, 0, 9), RED)
    page[grid.TOP : end, left : left + grid.panel_side(board)] = np.tile(tile, (board, board, 1))
    lines = (page == RED).all(2)
    assert lines.sum() == (board * side + 1) ** 2 - (board * (side - 1)) ** 2
    assert lines[grid.TOP : end + 1 : side, left].all() and lines[end, left : left + board * side + 1].all()


@pytest.mark.parametrize("scale", [1, 2])
def test_compose_lays_parts_over_the_page(scale):
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 256, (128 * scale, 128 * scale, 3), dtype=np.uint8)
    parts, expected = [], picture.copy()
    for row, column, height, width in ((0, 5, 10, 7), (20, 100, 8, 28), (20, 0, 8, 3), (90, 64, 38, 1)):
        patch = generator.integers(0, 256, (height * scale, width * scale, 3), dtype=np.uint8)
        rows = slice(row * scale, (row + height) * scale)
        expected[rows, column * scale : (column + width) * scale] = patch
        parts.append(canvas.Part(row, column, canvas.rows(patch)))
    frame = canvas.compose(canvas.rows(picture), parts)
    np.testing.assert_array_equal(np.asarray(frame), expected)


def test_compose_refuses_parts_that_overlap():
    page = canvas.rows(canvas.blank(128, 128, GREY))
    patch = canvas.rows(canvas.blank(4, 4, RED))
    for row, column in ((10, 12), (12, 50)):
        with pytest.raises(AssertionError, match="overlap"):
            canvas.compose(page, [canvas.Part(10, 10, patch), canvas.Part(row, column, patch)])


def test_blend_goes_from_below_to_above():
    below, above = np.array([0, 255, 10], np.uint8), np.array([255, 0, 10], np.uint8)
    blended = [np.asarray(canvas.blend(below, above, jnp.int32(coverage))) for coverage in (0, 128, 256)]
    np.testing.assert_array_equal(blended, [[0, 255, 10], [127, 127, 10], [255, 0, 10]])


def test_overlap_measures_the_stretch_in_each_pixel():
    edge = 256 * np.arange(5, dtype=np.int32)
    coverage = canvas.overlap(jnp.int32(300), jnp.int32(1000), edge)
    np.testing.assert_array_equal(coverage, [0, 212, 256, 232, 0])


def test_page_has_a_centred_panel_and_a_title():
    page = canvas.page(GREY, RED, 96, "TITLE", (1, 2, 3))
    assert (page[16:112, 16:112] == RED).all()
    assert (page[:16] == GREY).all() and (page[16:112, :16] == GREY).all() and (page[16:112, 112:] == GREY).all()
    assert ((page[112:] == (1, 2, 3)).all(-1)).sum() == font.text("TITLE").sum()


def test_sprites_and_arrows():
    mine = sprites.sprite(sprites.MINE, {"#": (0, 0, 0), "o": (9, 9, 9)}, RED)
    assert mine.shape == (9, 9, 3) and (mine[0, 0] == RED).all() and (mine[4, 4] == 0).all()
    for shape in (sprites.straight_arrow, sprites.turning_arrow):
        ink = [shape(size, 24, 1).sum() for size in range(6)]
        assert (np.diff(ink) > 0).all(), "a higher level is a bigger arrow"
        fine = shape(2, 24, 2).reshape(24, 2, 24, 2).mean((1, 3))
        assert np.abs(fine - shape(2, 24, 1)).mean() < 0.01


def test_suits_differ_in_shape_and_colour():
    for size in (7, 11):
        shapes = [cards.suit(suit, size) for suit in cards.SUITS]
        assert all(ink.shape == (size, size) and (ink == ink[:, ::-1]).all() for ink in shapes)
        assert min((one != two).sum() for one in shapes for two in shapes if one is not two) >= size
    assert len(set(cards.COLOURS)) == 4
    for suit in cards.SUITS:
        picture = cards.card(14, 16, GREY, RED, suit)
        assert (picture[-1] == RED).all() and (picture[:, -1] == RED).all()
        assert (picture == cards.COLOURS[suit]).all(-1).sum() == cards.suit(suit, 11).sum()


@pytest.mark.parametrize(("count", "columns"), [(26, 6), (52, 8), (78, 12)])
def test_cards_lie_in_rows_of_the_width_of_the_panel(count, columns):
    one, two, three, four = cards.faces(count, GREY, RED)
    atlas = np.stack([one, two, three, four, np.zeros_like(one)])
    index = np.random.default_rng(0).integers(0, 4, count)
    expected = [*atlas[index], *[atlas[4]] * (-count % columns)]
    expected = np.concatenate([np.concatenate(expected[k : k + columns], 1) for k in range(0, count, columns)])
    assert expected.shape == (70, 96, 3)
    rows = jax.jit(lambda index: cards.rows(atlas, index))(index)
    np.testing.assert_array_equal(np.asarray(rows).reshape(70, 96, 3), expected)


def test_shuffled_decks_follow_the_order_of_the_words():
    words = np.array([50, 10, 30, 20, 40], np.uint32) * 128
    shuffle = jax.jit(cards.shuffled, static_argnums=1)
    np.testing.assert_array_equal(shuffle(words, 4), np.array([4, 0, 2, 1, 3]) % 4)
    deck = np.asarray(shuffle(np.full(78, 7, np.uint32), 4))
    assert deck.dtype == np.int8, "equal words make a deck like any other"
    np.testing.assert_array_equal(np.bincount(deck), [20, 20, 19, 19])
