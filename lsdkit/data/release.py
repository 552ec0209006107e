"""The LSD release: its folders, numbers of faces and spellings. Whatever the kit knows of it by heart stands here.

ABAW4, Learning from Synthetic Data (Kollias 2022, https://arxiv.org/abs/2207.01138); paper section 1 and figure 3.
"""

TRAIN, VALIDATION, TEST = "training_set_synthetic_images", "validation_set_real_images", "lsd_test_data"
FOLDER_OF_SPLIT = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
CLASS_FOLDERS = ("ANGRER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")  # its own spelling, in its order 0..5
LIST_HEADER = "image,expression"  # of the list of test images, and of a submission
TRAIN_COUNTS = (18286, 15150, 10923, 73285, 144631, 14976)  # faces of each expression
VALIDATION_COUNTS = (804, 252, 523, 1714, 774, 603)
TEST_COUNT = 106_120
SIDE = 112  # pixels, of its square pictures
RENDERED_MARK = "open_set.json"  # a file in a folder of this layout that the kit's own renderer wrote
