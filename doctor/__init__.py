"""Why a relay's forwards do not answer: asks from here and on the relay, and changes nothing."""
