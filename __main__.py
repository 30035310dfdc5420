"""The program that ``pulumi up`` runs: the stack's config, one relay, its outputs."""

import pulumi

from components import Relay, relay_args

args = relay_args()
relay = Relay("relay", args)
first = args["homes"][0]["name"]

pulumi.export("homeConfig", relay.home_configs.apply(lambda configs: configs[first]))
pulumi.export("homeConfigs", relay.home_configs)
pulumi.export("homeRules", relay.home_rules)
pulumi.export("homeInstaller", relay.home_installers.apply(lambda scripts: scripts[first]))
pulumi.export("homeInstallers", relay.home_installers)
pulumi.export("homeFormats", relay.home_formats)
pulumi.export("deviceConfigs", relay.device_configs)
pulumi.export("endpoint", relay.endpoint)
pulumi.export("publicIp", relay.public_ip)
pulumi.export("forwards", relay.forwards)
pulumi.export("relayPublicKey", relay.public_key)
