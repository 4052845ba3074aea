//! Every sentence of `/check`, in three languages side by side.

use super::words::{Said, said};

pub(super) const TITLE: Said = said("Құрылғыны тексеру", "Проверка устройства", "Check this device");
pub(super) const LEAD: Said = said(
    "Бұл құрылғы мектептегі «Бұлақ» қорабына қалай жететінін өзі тексереді. Ештеңе жазылмайды және ешқайда жіберілмейді.",
    "Это устройство само проверяет, как оно доходит до школьной коробки «Бұлақ». Ничего не записывается и никуда не отправляется.",
    "This device finds out for itself how it reaches the school's Bulaq box. Nothing is recorded and nothing is sent anywhere.",
);
pub(super) const CHECKING: Said = said("Тексеріліп жатыр…", "Проверяется…", "Checking…");
pub(super) const FINDINGS: Said = said("Не анықталды", "Что выяснилось", "What was found");
pub(super) const CODE: Said =
    said("Техникалық маманға оқып беріңіз:", "Продиктуйте техническому специалисту:", "Read this to the technician:");
pub(super) const NO_SCRIPT: Said = said(
    "Бұл браузерде сценарийлер өшірулі. Жасыл белгі көрінсе, жауап — иә; көрінбесе, төмендегі кеңесті қараңыз.",
    "В этом браузере отключены сценарии. Если видна зелёная отметка, ответ — да; если её нет, смотрите советы ниже.",
    "Scripts are off in this browser. A green mark means yes; where there is none, see the advice below.",
);
pub(super) const NO_ANSWER: Said = said(
    "Қорап жауап бермеді. Бетті қайта ашыңыз.",
    "Коробка не ответила. Откройте страницу ещё раз.",
    "The box did not answer. Open the page again.",
);

pub(super) const NAME: Said = said("Атаулар сервері (DNS)", "Сервер имён (DNS)", "Name server (DNS)");
pub(super) const NAME_GOOD: Said = said(
    "Бұл құрылғы қорапты атауы бойынша табады.",
    "Это устройство находит коробку по имени.",
    "This device finds the box by its name.",
);
pub(super) const NAME_BAD: Said = said(
    "Бұл құрылғы қорапты атауы бойынша таппайды: ол мектептің емес, басқа атаулар серверінен сұрайды (жеке DNS, DNS over HTTPS, VPN) немесе мектептің сервері қорапқа бағыттамайды.",
    "Это устройство не находит коробку по имени: оно спрашивает не школьный сервер имён (частный DNS, DNS over HTTPS, VPN), или школьный сервер не ведёт к коробке.",
    "This device does not find the box by its name: it asks another name server than the school's (Private DNS, DNS over HTTPS, a VPN), or the school's does not lead to the box.",
);
pub(super) const NAME_OPEN: Said = said(
    "Бұл жерден тексеру мүмкін емес. Осы бетті http://bulaq.internal/check мекенжайында ашыңыз.",
    "Отсюда проверить нельзя. Откройте эту страницу по адресу http://bulaq.internal/check.",
    "This cannot be checked from here. Open this page at http://bulaq.internal/check.",
);

pub(super) const TRUST: Said = said("Аудан сертификаты", "Сертификат района", "The district's certificate");
pub(super) const TRUST_OPEN: Said = said(
    "Атауы табылмағандықтан, тексеру мүмкін болмады. https сабақтары өзгеріссіз өткізіледі.",
    "Проверить не удалось, потому что имя не находится. Уроки по https пропускаются без изменений.",
    "This could not be checked, since the name is not found. Lessons over https are passed through unchanged.",
);

pub(super) const LESSONS: Said = said("Оқу сайттары", "Учебные сайты", "Lesson sites");
pub(super) const LESSONS_GOOD: Said = said(
    "Тексерілген сайттардың бәрі қораптан келеді:",
    "Все проверенные сайты приходят из коробки:",
    "All the sites that were tried come from the box:",
);
pub(super) const LESSONS_SOME: Said = said(
    "Сайттардың бір бөлігі қораптан келетіні көрінді. Қалғандары https арқылы өткізілуі мүмкін, бұл қалыпты. Қораптан келетіні:",
    "Видно, что часть сайтов приходит из коробки. Остальные могут пропускаться по https, это нормально. Приходят из коробки:",
    "It showed that some of the sites come from the box. The others may pass through over https, which is fine. From the box:",
);
pub(super) const LESSONS_OPEN: Said = said(
    "Сайттар қораптан келетіні көрінбеді: олар https арқылы өткізіледі, немесе бұл құрылғы қорапты айналып өтеді.",
    "Не видно, чтобы сайты приходили из коробки: они пропускаются по https, или это устройство обходит коробку.",
    "It did not show that sites come from the box: they pass through over https, or this device goes around the box.",
);

pub(super) const CLOCK: Said = said("Сағат", "Часы", "Clock");
pub(super) const CLOCK_GOOD: Said = said(
    "Құрылғының сағаты қораптың сағатымен сәйкес.",
    "Часы устройства совпадают с часами коробки.",
    "The device's clock agrees with the box's.",
);
pub(super) const CLOCK_BAD: Said = said(
    "Құрылғының сағаты қораптікінен өзгеше, сондықтан сертификаттар жарамсыз көрінеді. Күнді, уақытты және белдеуді автоматты етіп қойыңыз. Айырмасы, минут:",
    "Часы устройства расходятся с часами коробки, поэтому сертификаты кажутся недействительными. Включите автоматические дату, время и пояс. Разница, минут:",
    "The device's clock differs from the box's, so certificates look invalid. Set date, time and zone to automatic. Minutes apart:",
);

pub(super) const WAY: Said = said("Жол", "Путь", "The way");
pub(super) const WAY_DIRECT: Said = said(
    "Бұл құрылғы қорапқа тікелей келеді, прокси арқылы емес.",
    "Это устройство приходит к коробке напрямую, не через прокси.",
    "This device comes to the box directly, not through a proxy setting.",
);
pub(super) const WAY_PROXY: Said = said(
    "Бұл құрылғы қорапқа прокси ретінде келеді.",
    "Это устройство использует коробку как прокси.",
    "This device uses the box as its proxy.",
);

pub(super) const ADVICE: Said = said("✖ немесе ? тұрса", "Если стоит ✖ или ?", "Where there is a ✖ or a ?");
pub(super) const ADVICE_LEAD: Said = said(
    "Құрылғы мектептің атаулар серверінен сұрауы керек. Мына баптауларды қараңыз:",
    "Устройство должно спрашивать школьный сервер имён. Посмотрите эти настройки:",
    "The device should ask the school's name server. Look at these settings:",
);
pub(super) const ADVICE_ANDROID: Said = said(
    "«Параметрлер → Желі және интернет → Жеке DNS»: «Автоматты» немесе «Өшірулі».",
    "«Настройки → Сеть и интернет → Частный DNS-сервер»: «Автоматически» или «Отключён».",
    "Settings → Network & internet → Private DNS: Automatic or Off.",
);
pub(super) const ADVICE_APPLE: Said = said(
    "«Параметрлер → Wi-Fi → (i) → DNS баптау»: «Автоматты»; «Жеке узел» (Private Relay) мен VPN өшірулі.",
    "«Настройки → Wi-Fi → (i) → Настройка DNS»: «Автоматически»; «Частный узел» (Private Relay) и VPN выключены.",
    "Settings → Wi-Fi → (i) → Configure DNS: Automatic; Private Relay and VPN off.",
);
pub(super) const ADVICE_WINDOWS: Said = said(
    "«Параметрлер → Желі және интернет → Wi-Fi немесе Ethernet → DNS серверін тағайындау»: «Автоматты (DHCP)».",
    "«Параметры → Сеть и интернет → Wi-Fi или Ethernet → Назначение DNS-сервера»: «Автоматически (DHCP)».",
    "Settings → Network & internet → Wi-Fi or Ethernet → DNS server assignment: Automatic (DHCP).",
);
pub(super) const ADVICE_CHROME: Said = said(
    "«Параметрлер → Құпиялылық және қауіпсіздік → Қауіпсіздік → Қауіпсіз DNS»: өшірулі.",
    "«Настройки → Конфиденциальность и безопасность → Безопасность → Безопасный DNS-сервер»: выключено.",
    "Settings → Privacy and security → Security → Use secure DNS: off.",
);
pub(super) const ADVICE_FIREFOX: Said = said(
    "«Параметрлер → Құпиялылық және қауіпсіздік → HTTPS арқылы DNS»: «Өшірулі» немесе «Үнсіз келісім бойынша».",
    "«Настройки → Приватность и защита → DNS через HTTPS»: «По умолчанию» или «Отключена».",
    "Settings → Privacy & Security → DNS over HTTPS: Default Protection or Off.",
);
pub(super) const ADVICE_CA: Said = said(
    "Аудан сертификаты мектептің өз компьютерлеріне ғана керек; оны техникалық маман орнатады. Жеке телефонға ештеңе орнатпаңыз: сабақтар онсыз да ашылады.",
    "Сертификат района нужен только компьютерам школы; его ставит технический специалист. На личный телефон ничего ставить не надо: уроки открываются и так.",
    "Only the school's own computers need the district's certificate; the technician installs it. Install nothing on a phone of your own: lessons open without it.",
);
pub(super) const BACK: Said = said("Сабақтарға оралу", "Вернуться к урокам", "Back to the lessons");
