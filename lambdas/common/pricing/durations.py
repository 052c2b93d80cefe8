"""Every duration that a reservation or a deadline is made from, with where it was read. Seconds.

The waits and time-outs of the state machines stand in stacks/*.asl.yaml; a test adds them up against the allowances here.
"""

# Public logs of SageMaker jobs with images of this family (9.6 GB compressed): 3 to 12 minutes until the script starts.
IMAGE_PULL_SECONDS = 720
# 13.5 GB of weights for 7 billion parameters in 16 bits; the same logs show 100 MB/s and more from S3 to the instance.
WEIGHTS_DOWNLOAD_SECONDS = 180
# To load the weights and to save the adapter, whatever training does. The evaluations are inside the script's own budget.
LOAD_AND_SAVE_SECONDS = 300
# The bill counts from TrainingStartTime, which is before the image is pulled and the channels are downloaded (botocore,
# DescribeTrainingJob: TrainingStartTime), and MaxRuntimeInSeconds may. So the script is given that much less.
TRAINING_MARGIN_SECONDS = IMAGE_PULL_SECONDS + WEIGHTS_DOWNLOAD_SECONDS + LOAD_AND_SAVE_SECONDS

# Below this a run cannot finish: ten minutes to learn and to measure in.
USEFUL_TRAINING_SECONDS = 600
MINIMUM_TRAINING_SECONDS = TRAINING_MARGIN_SECONDS + USEFUL_TRAINING_SECONDS

# An endpoint of 7 billion parameters takes 10 to 15 minutes to come into service (AWS's own test of this image,
# aws/deep-learning-containers, test/vllm/sagemaker/test_sm_endpoint.py; 12 in a public log), and a few prompts take some more.
USEFUL_ENDPOINT_SECONDS = 1200
# An endpoint of one type for which there is no instance fails after some 31 minutes (six of six, in a public project's log); nothing
# in its configuration makes that shorter.
ENDPOINT_CAPACITY_SECONDS = 1860
# So that a lack of capacity is told as one: until the endpoint says so, and three minutes to see it and to stop.
MINIMUM_DEADLINE_SECONDS = ENDPOINT_CAPACITY_SECONDS + 240

# A job that reaches its MaxRuntime gets 120 seconds to save (SageMaker's stop signal) and then uploads what it has.
TRAINING_STOP_ALLOWANCE_SECONDS = 420

# A job is billed from TrainingStartTime, before the image is pulled and the channels are downloaded (botocore, DescribeTrainingJob:
# "The difference is due to the time it takes to download the training data and to the size of the training container"). Nothing that
# AWS has written says whether MaxRuntimeInSeconds counts that time. The script is given less, in case it does (above); this is
# reserved on top, in case it does not.
TRAINING_START_ALLOWANCE_SECONDS = IMAGE_PULL_SECONDS + WEIGHTS_DOWNLOAD_SECONDS

# How long an endpoint may take to download its model and to answer its first health check: the limits in its configuration.
ENDPOINT_DOWNLOAD_SECONDS = 1200
ENDPOINT_START_SECONDS = 900
# Until an endpoint that is still Creating can be deleted, and five minutes for TearDown to notice. It is reserved on top of
# the deadline.
TEAR_DOWN_ALLOWANCE_SECONDS = ENDPOINT_DOWNLOAD_SECONDS + ENDPOINT_START_SECONDS + 300

# Between two tries to find an endpoint's instance: so many times in a deadline, and five minutes in one of an hour.
_PAUSES_IN_A_DEADLINE = 12
# What botocore takes (VariantInstanceProvisionTimeoutInSeconds).
SHORTEST_POOLS_SECONDS, LONGEST_POOLS_SECONDS = 300, 3600


def instance_pools_seconds(deadline_seconds: int) -> int:
    """How long SageMaker looks for an endpoint's instance where several types may serve, all of them together: until the endpoint
    would have too little time left. It gives up sooner where none of them is free."""
    return max(SHORTEST_POOLS_SECONDS, min(LONGEST_POOLS_SECONDS, deadline_seconds - USEFUL_ENDPOINT_SECONDS))


def pause_seconds(deadline_seconds: int) -> int:
    """How long a run waits before it tries again to find an endpoint's instance."""
    return deadline_seconds // _PAUSES_IN_A_DEADLINE


def try_again_seconds(looking_seconds: int) -> int:
    """How much of its deadline an endpoint needs at the least, for which SageMaker looks so long for an instance.

    One that finds it at the last moment must have started within the tear-down's allowance: until then it cannot be deleted.
    """
    spare = TEAR_DOWN_ALLOWANCE_SECONDS - ENDPOINT_DOWNLOAD_SECONDS - ENDPOINT_START_SECONDS
    return max(USEFUL_ENDPOINT_SECONDS, looking_seconds - spare)


# Time that bills nothing but moves the tear-down: how long SageMaker looks for an instance on demand, of one type or of a list
# (botocore, MaxPendingTimeInSeconds: 1,800 at the least, 7,200 until 31 August 2026), and 50 minutes of polling, retries and Lambdas.
MAX_PENDING_SECONDS = 7200
UNBILLED_ALLOWANCE_SECONDS = MAX_PENDING_SECONDS + 3000

# From Preflight's plan to its reservation: ReserveBudget's own attempts. A plan that waits for longer may last beyond its months.
RESERVE_ALLOWANCE_SECONDS = 1800

# How long one spot job may wait for its instance, all interruptions together: MaxWaitTimeInSeconds is this and MaxRuntimeInSeconds. Waits
# for such cards on demand took 28 to 58 minutes in a public project's three jobs. It is less than a job on demand may wait, so that the
# tear-down need not come later.
# Waiting bills nothing, yet all of it is reserved: nothing that AWS has written says whether MaxRuntimeInSeconds counts over all
# restarts together, nor whether an image that is pulled anew after each bills. The clock of MaxWaitTimeInSeconds does not stop: no
# job can bill for longer, and no second of spot costs more than one on demand.
SPOT_WAIT_SECONDS = 3600
# An interrupted job writes a checkpoint as it is told to stop, and none before it has started again: 3 minutes of image and 3 of weights
# at the least in public logs (common/estimate.py). A smaller model starts sooner, and its checkpoints are smaller by more.
SPOT_START_MINUTES = 6

# The most that the settings and the input of a run may ask for; tests hold them beside what refuses more.
LONGEST_DEADLINE_SECONDS = 240 * 60
LONGEST_KEEP_SECONDS = 240 * 60
# TimeoutSeconds of stacks/fine_tuning.asl.yaml.
LONGEST_EXECUTION_SECONDS = 44400
# No endpoint is there for longer, whatever the settings.
LONGEST_ENDPOINT_SECONDS = LONGEST_DEADLINE_SECONDS + LONGEST_KEEP_SECONDS + TEAR_DOWN_ALLOWANCE_SECONDS
# No reservation is open for longer: the execution, the minutes that its endpoint is kept, and the removal.
LONGEST_RESERVATION_SECONDS = LONGEST_EXECUTION_SECONDS + LONGEST_KEEP_SECONDS + TEAR_DOWN_ALLOWANCE_SECONDS
