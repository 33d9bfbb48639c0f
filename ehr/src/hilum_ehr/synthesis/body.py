"""Physiology: growth, kidneys, sugar, fats. Pure formulas, each with its source.

Curves are rounded medians for a plausible chart; they are no clinical reference.
"""

import math
from bisect import bisect_right

# Dense in the first year, when children grow fastest.
MONTHS = (
    0,
    1,
    2,
    4,
    6,
    9,
    12,
    18,
    24,
    36,
    48,
    60,
    72,
    84,
    96,
    108,
    120,
    132,
    144,
    156,
    168,
    180,
    192,
    204,
    216,
)
HEIGHT_CM = {
    False: (49.9, 54.7, 58.4, 63.9, 67.6, 72.0, 75.7, 82.3, 87.1, 96.1, 103.3, 110.0, 116.0, 121.7, 127.3, 132.6, 137.8, 143.1, 149.1, 156.0, 163.2, 169.0, 173.0, 175.3, 176.3),
    True: (49.1, 53.7, 57.1, 62.1, 65.7, 70.1, 74.0, 80.7, 85.7, 95.1, 102.7, 109.4, 115.1, 120.8, 126.6, 132.2, 138.3, 144.8, 151.5, 156.7, 159.8, 161.5, 162.4, 162.9, 163.1),
}  # fmt: skip
WEIGHT_KG = {
    False: (3.3, 4.5, 5.6, 7.0, 7.9, 8.9, 9.6, 10.9, 12.2, 14.3, 16.3, 18.4, 20.6, 22.9, 25.6, 28.6, 31.9, 35.9, 40.5, 45.8, 51.0, 56.5, 61.0, 64.5, 67.0),
    True: (3.2, 4.2, 5.1, 6.4, 7.3, 8.2, 8.9, 10.2, 11.5, 13.9, 16.1, 18.2, 20.2, 22.7, 25.6, 29.0, 32.9, 37.2, 41.8, 46.0, 49.5, 52.0, 53.9, 55.2, 56.5),
}  # fmt: skip
HEAD_CM = {
    False: (34.5, 37.3, 39.1, 41.6, 43.3, 45.0, 46.1, 47.4, 48.3, 49.5),
    True: (33.9, 36.5, 38.3, 40.6, 42.2, 43.8, 44.9, 46.2, 47.2, 48.5),
}
# Relative standard deviations, so that one z score works at every age.
HEIGHT_SPREAD, WEIGHT_SPREAD, HEAD_SPREAD, SHAPE_SPREAD = 0.04, 0.12, 0.03, 0.10
HEAD_UNTIL_MONTHS = 36


def on_curve(curve: tuple[float, ...], months: float) -> float:
    """Interpolate a curve over ``MONTHS``; beyond its end it is flat."""
    last = len(curve) - 1
    # The head's curve is shorter than the others.
    if months >= MONTHS[last]:
        return curve[last]
    i = bisect_right(MONTHS, months) - 1
    share = (months - MONTHS[i]) / (MONTHS[i + 1] - MONTHS[i])
    return curve[i] + share * (curve[i + 1] - curve[i])


def percentile(z: float) -> int:
    """Return the percentile of a z score, between 1 and 99."""
    return min(99, max(1, round(50 * (1 + math.erf(z / math.sqrt(2))))))


def weight_for_length_z(height_cm: float, weight_kg: float, *, female: bool) -> float:
    heights, weights = HEIGHT_CM[female], WEIGHT_KG[female]
    # Clamped: a very small or tall child is compared with the end of the curve.
    height_cm = min(max(height_cm, heights[0]), heights[-1] - 0.01)
    i = bisect_right(heights, height_cm) - 1
    share = (height_cm - heights[i]) / (heights[i + 1] - heights[i])
    median = weights[i] + share * (weights[i + 1] - weights[i])
    return math.log(weight_kg / median) / SHAPE_SPREAD


def bmi_for_age_z(bmi_value: float, months: float, *, female: bool) -> float:
    median = bmi(on_curve(HEIGHT_CM[female], months), on_curve(WEIGHT_KG[female], months))
    return math.log(bmi_value / median) / SHAPE_SPREAD


def bmi(height_cm: float, weight_kg: float) -> float:
    return round(weight_kg / (height_cm / 100) ** 2, 1)


def egfr(creatinine_mg_dl: float, age_years: float, *, female: bool) -> int:
    """Estimate glomerular filtration from creatinine.

    Source: CKD-EPI 2021 creatinine equation (race-free), mL/min/1.73 m2; adults only.
    """
    kappa, alpha = (0.7, -0.241) if female else (0.9, -0.302)
    ratio = creatinine_mg_dl / kappa
    rate: float = 142 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.200 * 0.9938**age_years
    return round(rate * 1.012 if female else rate)


def creatinine_for(rate: float, age_years: float, *, female: bool) -> float:
    """Invert ``egfr``: the creatinine (mg/dL) at which kidneys would filter ``rate``."""
    kappa, alpha = (0.7, -0.241) if female else (0.9, -0.302)
    share = rate / (142 * 0.9938**age_years * (1.012 if female else 1))
    ratio: float = share ** (1 / -1.200) if share <= 1 else share ** (1 / alpha)
    return round(kappa * ratio, 2)


def child_creatinine(height_cm: float) -> float:
    """Return the creatinine of a child with healthy kidneys.

    Source: bedside Schwartz 2009, eGFR = 0.413 x height / creatinine, solved for 115 mL/min/1.73 m2.
    """
    return round(0.413 * height_cm / 115, 2)


def ldl(total: float, hdl: float, triglycerides: float) -> int:
    """Source: Friedewald 1972, mg/dL; valid below 400 mg/dL of triglycerides."""
    return round(total - hdl - triglycerides / 5)


def average_glucose(a1c_percent: float) -> int:
    """Source: ADAG 2008, estimated average glucose (mg/dL) = 28.7 x A1c - 46.7."""
    return round(28.7 * a1c_percent - 46.7)


def eased(months: float, half_life: float) -> float:
    """Return the share of a treatment's effect that has set in after ``months``, 0 to 1."""
    return 0.0 if months <= 0 else 1 - 0.5 ** (months / half_life)
