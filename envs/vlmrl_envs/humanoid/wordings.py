"""The words for a humanoid's body: facts and ways to say them, in the order of their columns.

"Its left" and "its right" are the robot's own sides, whichever way it faces. The first 29 facts are those that the
first embedded encoder was trained on; new ones follow, so that columns stay.
"""

from __future__ import annotations

from vlmrl_envs.captions import Fact

SUBJECTS = ("a humanoid robot", "a robot", "the humanoid robot", "a humanoid", "the robot", "a human-like robot",
            "the humanoid", "the humanoid robot is", "a robot that is")  # fmt: skip
PLAIN = ("a humanoid robot", "a robot", "a humanoid", "the robot", "a picture of a humanoid robot",
         "a humanoid robot on a tiled floor", "a human-like robot", "the humanoid", "a humanoid robot on the floor")  # fmt: skip

_FIRST = (
    Fact("kneeling", ("kneeling", "on its knees", "kneeling on the floor", "down on both knees", "kneeling down",
                      "kneeling upright", "kneeling on both knees", "in a kneeling position"), ("not kneeling",), "legs",
         ("a humanoid robot kneeling", "a kneeling robot", "a robot in a kneeling pose"), telling=("kneeling", "on its knees")),
    Fact("one_knee", ("on one knee", "kneeling on one knee", "with one knee on the floor", "down on one knee"), (), "legs"),
    Fact("standing", ("standing up", "standing", "standing upright", "on its feet", "upright on both feet",
                      "standing straight", "standing on both feet", "in a standing position"), ("not standing",), "legs",
         ("a humanoid robot standing up", "a standing robot", "a robot standing on the floor"), telling=("standing",)),
    Fact("lotus", ("seated down, meditating in the lotus position", "meditating in the lotus position",
                   "sitting cross-legged", "seated with folded legs", "in the lotus position",
                   "seated in the lotus position", "meditating cross-legged"), (), "legs",
         telling=("lotus", "meditating", "cross-legged")),
    Fact("sitting", ("sitting on the floor", "seated", "sitting down", "seated on the ground", "sitting",
                     "seated on the floor", "in a sitting position"), ("not sitting",), "legs", ("a seated robot", "a sitting robot")),
    Fact("splits", ("practicing gymnastics, doing the side splits", "doing the side splits", "doing the splits",
                    "seated with its legs wide apart", "practicing gymnastics, doing the splits", "in the splits"), (), "legs",
         telling=("splits", "gymnastics", "straddle")),
    Fact("one_leg", ("standing up on one leg", "standing on one leg", "balancing on one leg",
                     "with one foot lifted off the floor", "balancing on one foot", "standing on one foot"),
         ("not on one leg",), "legs", telling=("on one leg", "on one foot", "balancing")),
    Fact("squatting", ("squatting", "crouching", "in a squat", "crouching with bent knees", "squatting down",
                       "crouching down"), ("not squatting",), "legs"),
    Fact("all_fours", ("on all fours", "on its hands and knees", "crawling", "crawling on all fours",
                       "crawling on its hands and knees"), (), "legs"),
    Fact("lying", ("lying on the floor", "lying down", "lying flat on the ground", "fallen to the ground",
                   "lying on the ground", "fallen down", "lying flat"), ("not lying down",), "legs", ("a robot that has fallen over",)),
    Fact("lying_back", ("lying on its back", "on its back, face up", "lying face up", "lying flat on its back",
                        "on its back"), ("not on its back",), "legs"),
    Fact("lying_front", ("lying on its front", "lying face down", "on its belly", "lying on its belly",
                         "flat on its belly, face down"), (), "legs"),
    Fact("upright", ("with an upright torso", "holding its torso upright", "with a straight back",
                     "with its torso upright", "whose back is straight", "with its upper body upright", "with its back straight", "whose torso is upright",
                     "with its back upright"), (), "torso",
         graded=(("with its torso half upright", 0.5), ("with its torso almost upright", 0.8))),
    Fact("bent_over", ("bent over", "leaning forward", "bowing", "bending forward", "leaning over", "bent forward"),
         ("not bent over",), "torso", graded=(("with its torso leaning slightly forward", 0.3),)),
    Fact("raised", ("with both arms raised", "with its arms up in the air", "with both hands above its head", "raising both arms",
                    "with its arms raised", "with both arms up", "whose arms are raised", "with its hands up in the air"),
         ("with its arms lowered",), "arms",
         graded=(("with its arms half raised", 0.5), ("with its arms slightly raised", 0.3),
                 ("with both arms fully raised", 1.0), ("with its arms almost fully raised", 0.8))),
    Fact("one_raised", ("with one arm raised", "raising one hand", "with one hand above its head", "raising one arm",
                        "with one hand up", "with one arm up in the air"), (), "arms"),
    Fact("sideways", ("with its arms stretched out to the sides", "with both arms out sideways", "in a T-pose",
                      "with both arms stretched out sideways", "with its arms out to the sides"), (), "arms"),
    Fact("forward", ("with its arms stretched forward", "reaching forward", "with both arms held out in front",
                     "with both arms stretched forward", "reaching forward with both arms", "with its arms held out in front"), (), "arms"),
    Fact("on_hips", ("with hands on hips", "with its hands on its hips", "hands on hips", "with both hands on its hips",
                     "with its hands at its waist"), (), "arms", telling=("hands on hips", "hands on its hips")),
    Fact("crossed", ("with its arms crossed", "with arms crossed", "with arms folded in front of its chest",
                     "with its arms folded", "with both arms crossed in front of its chest", "whose arms are crossed"), (), "arms",
         telling=("crossed", "arms folded")),
    Fact("hanging", ("with its arms hanging down", "with its arms at its sides", "with lowered arms", "with both arms down",
                     "with both arms hanging", "with its arms down at its sides"), (), "arms"),
    Fact("legs_apart", ("with its legs apart", "with its legs spread", "with its feet far apart", "with its legs wide apart",
                        "with its feet apart"), (), "stance",
         graded=(("with its legs slightly apart", 0.3), ("with its legs half spread", 0.5))),
    Fact("legs_together", ("with its legs together", "with its feet close together", "with its feet together",
                           "with its legs close together"), (), "stance"),
    Fact("legs_up", ("with its legs up", "with both feet in the air", "with its legs in the air", "with both legs up"), (), "stance"),
    Fact("knees_bent", ("with bent knees", "with bent legs", "with folded legs", "with its knees bent", "whose legs are bent",
                        "with both knees bent"), ("with straight legs", "with its legs straight", "with both legs straight"), "knees",
         graded=(("with slightly bent knees", 0.3), ("with its knees half bent", 0.5), ("with its legs fully folded", 1.0))),
    Fact("head_high", ("with its head high", "holding its head high above the floor", "with its head high above the floor",
                       "whose head is high"), ("with its head low", "with its head near the floor"), "head"),
    # VLM-RM's sentences that say two things at once, as wholes
    Fact("standing_raised", ("standing up, with both arms raised", "standing with both arms raised",
                             "standing upright with its arms raised", "on its feet with its arms up in the air",
                             "standing up with both hands above its head"), (), "legs", says=("standing", "raised")),
    Fact("standing_hips", ("standing up with hands on hips", "standing with its hands on its hips",
                           "standing upright with hands on hips", "on its feet with both hands on its hips"),
         (), "legs", says=("standing", "on_hips")),
    Fact("standing_crossed", ("standing up, with its arms crossed", "standing with arms crossed",
                              "standing upright with its arms folded", "on its feet with its arms crossed"),
         (), "legs", says=("standing", "crossed")),
)  # fmt: skip

_POSTURES = (
    Fact("lying_side", ("lying on its side", "on its side", "lying sideways on the floor", "lying on one side"), (), "legs"),
    Fact("lunging", ("lunging", "in a lunge", "lunging forward", "with one foot far in front of the other",
                     "doing a lunge"), (), "legs"),
    Fact("front_splits", ("doing the front splits", "in the front splits", "sitting with one leg forward and one leg back",
                          "practicing gymnastics, doing the front splits"), (), "legs", says=("splits",)),
    Fact("bridge", ("in a bridge", "doing a bridge, belly up", "on its hands and feet, belly up", "in a crab pose",
                    "on its hands and feet with its belly up"), (), "legs"),
    Fact("upside_down", ("upside down", "in a handstand", "doing a handstand", "standing on its head",
                         "with its head below its feet", "with its feet higher than its head", "with its head lower than its feet"),
         ("not upside down", "with its head higher than its feet", "with its feet lower than its head",
          "with its head above its feet"), "legs"),
    Fact("sit_forward", ("sitting with its legs stretched out in front", "seated with its legs straight in front",
                         "sitting on the floor with its legs stretched forward", "seated with its legs stretched out"), (), "legs"),
    Fact("sit_knees_up", ("sitting with its knees drawn up", "seated with its knees up", "sitting on the floor with bent knees",
                          "seated on the floor with its knees drawn up"), (), "legs"),
    Fact("sit_heels", ("sitting on its heels", "kneeling, sitting on its heels", "seated on its heels",
                       "kneeling low on its heels"), (), "legs"),
    Fact("airborne", ("in the air above the floor", "off the floor", "jumping", "with nothing on the floor", "jumping in the air",
                      "with nothing touching the floor", "touching nothing"),
         ("touching the floor",), "contact"),
)  # fmt: skip

_TORSO = (
    Fact("leaning_back", ("leaning back", "leaning backwards", "bent backwards", "bending backwards", "bent back"), (), "torso"),
    Fact("leaning_left", ("leaning to its left", "tilted to its left", "bent to its left side", "leaning to its left side"), (), "torso"),
    Fact("leaning_right", ("leaning to its right", "tilted to its right", "bent to its right side", "leaning to its right side"), (), "torso"),
    Fact("twisted", ("with a twisted torso", "twisted at the waist", "with its torso twisted", "twisting its torso"), (), "twist",
         graded=(("with its torso slightly twisted", 0.3),)),
)  # fmt: skip


def _arm(side: str) -> tuple[Fact, ...]:
    """Return what one arm can do; side is the robot's own."""
    return (
        Fact(f"{side}_raised", (f"with its {side} arm raised", f"raising its {side} arm", f"with its {side} hand above its head",
                                f"with its {side} arm up", f"raising its {side} hand"), (), f"{side}_arm",
             graded=((f"with its {side} arm half raised", 0.5),)),
        Fact(f"{side}_forward", (f"with its {side} arm stretched forward", f"reaching forward with its {side} arm",
                                 f"with its {side} arm held out in front", f"with its {side} hand in front"), (), f"{side}_arm"),
        Fact(f"{side}_sideways", (f"with its {side} arm out to the side", f"with its {side} arm stretched out sideways",
                                  f"with its {side} arm out sideways", f"with its {side} hand out to the side"), (), f"{side}_arm"),
        Fact(f"{side}_hanging", (f"with its {side} arm hanging down", f"with its {side} arm down", f"with its {side} arm at its side",
                                 f"with its {side} hand down at its side"), (f"with its {side} arm off its side",), f"{side}_arm"),
    )  # fmt: skip


def _leg(side: str) -> tuple[Fact, ...]:
    """Return what one leg can do; side is the robot's own."""
    return (
        Fact(f"{side}_knee_bent", (f"with its {side} knee bent", f"with its {side} leg bent", f"bending its {side} knee",
                                   f"whose {side} leg is bent"), (f"with its {side} leg straight",), f"{side}_knee",
             graded=((f"with its {side} knee slightly bent", 0.3),)),
        Fact(f"{side}_leg_raised", (f"with its {side} leg raised", f"raising its {side} leg", f"with its {side} foot in the air",
                                    f"with its {side} foot off the floor"), (f"with its {side} foot on the floor",), f"{side}_leg"),
        Fact(f"{side}_leg_forward", (f"with its {side} leg forward", f"with its {side} leg stretched forward",
                                     f"with its {side} foot in front", f"with its {side} leg in front"), (), f"{side}_leg"),
        Fact(f"{side}_leg_side", (f"with its {side} leg out to the side", f"with its {side} foot out to the side",
                                  f"with its {side} leg stretched out sideways", f"with its {side} leg out sideways"), (), f"{side}_leg"),
    )  # fmt: skip


_LIMBS = (
    *_arm("right"), *_arm("left"), *_leg("right"), *_leg("left"),
    Fact("elbows_bent", ("with bent elbows", "with bent arms", "with both elbows bent", "whose arms are bent",
                         "bending both elbows"), ("with straight arms", "with its arms straight"), "elbows",
         graded=(("with slightly bent elbows", 0.3), ("with its arms half bent", 0.5))),
    Fact("on_head", ("with its hands on its head", "with both hands at its head", "holding its head with both hands",
                     "with its hands at its head"), (), "arms"),
    Fact("on_floor", ("with both hands on the floor", "with its hands on the floor", "touching the floor with both hands",
                      "with its hands touching the ground"), ("with its hands off the floor",), "arms"),
    Fact("behind", ("with its arms behind its back", "with both hands behind its back", "with its hands behind it",
                    "whose arms are behind its back"), (), "arms"),
    Fact("hands_together", ("with its hands together", "with both hands close together", "bringing its hands together",
                            "whose hands are together"), ("with its hands far apart",), "arms"),
    Fact("on_knees", ("with its hands on its knees", "with both hands at its knees", "holding its knees",
                      "with its hands at its knees"), (), "arms"),
)  # fmt: skip

_RELATIONS = (
    Fact("knees_floor", ("with both knees on the floor", "with its knees on the floor", "touching the floor with both knees",
                         "with its knees touching the ground"), ("with its knees off the floor",), "contact"),
    Fact("feet_floor", ("with both feet on the floor", "with its feet on the ground", "with both feet flat on the floor",
                        "touching the floor with both feet"), ("with a foot off the floor",), "contact"),
    Fact("hips_floor", ("with its hips on the floor", "touching the floor with its hips", "with its bottom on the floor",
                        "with its bottom touching the ground"), ("with its hips off the floor",), "contact"),
    Fact("feet_only", ("touching the floor with nothing but its feet", "with nothing but its feet on the floor",
                       "with only its feet on the floor", "touching the floor with only its feet"), (), "contact"),
    Fact("hands_over_head", ("with its hands higher than its head", "whose hands are higher than its head",
                             "with both hands higher than its head", "with its head lower than its hands",
                             "with its head below its hands"),
         ("with its hands lower than its head", "with its head higher than its hands", "with its head above its hands",
          "with its hands below its head"), "relation"),
    Fact("knees_over_hips", ("with its knees higher than its hips", "whose knees are higher than its hips",
                             "with its hips lower than its knees", "with both knees higher than its hips",
                             "with its hips below its knees", "with its bottom lower than its knees"),
         ("with its knees lower than its hips", "with its hips higher than its knees", "with its hips above its knees",
          "with its knees below its hips"), "relation"),
    Fact("hips_low", ("with its hips low", "with its hips close to the floor", "with its hips near the ground",
                      "whose hips are close to the floor"), ("with its hips high above the floor", "with its hips high"), "height"),
    Fact("feet_behind", ("with its feet behind its knees", "with both feet behind its knees", "whose feet are behind its knees",
                         "with its shins folded back"), (), "shins"),
)  # fmt: skip

FACTS = (*_FIRST, *_POSTURES, *_TORSO, *_LIMBS, *_RELATIONS)
