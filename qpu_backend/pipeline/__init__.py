"""A job, one file a stage: admission, dispatch, execution, postprocessing, settlement. It opens the transactions."""
