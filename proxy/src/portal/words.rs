//! Every sentence of the pupil's pages, in three languages side by side.
//!
//! No sentence has a gap in its middle: hosts, titles and contacts stand in elements of their own, so that word order
//! never has to fit three grammars.

use http::StatusCode;

use super::Language;
use super::pages::{GatewayNo, StoredCopy, Trouble};

/// One sentence in Kazakh, Russian and English.
#[derive(Clone, Copy)]
pub(super) struct Said {
    kk: &'static str,
    ru: &'static str,
    en: &'static str,
}

impl Language {
    /// The sentence in this language.
    pub(super) const fn says(self, said: Said) -> &'static str {
        match self {
            Self::Kazakh => said.kk,
            Self::Russian => said.ru,
            Self::English => said.en,
        }
    }
}

pub(super) const fn said(kk: &'static str, ru: &'static str, en: &'static str) -> Said {
    Said { kk, ru, en }
}

pub(super) const BRAND: Said = said("Бұлақ", "Бұлақ", "Bulaq");
pub(super) const LANGUAGES: Said = said("Тілдер", "Языки", "Languages");
pub(super) const FOOT: Said = said(
    "Кім қай бетті ашқаны еш жерде жазылмайды.",
    "Кто какие страницы открывает, нигде не записывается.",
    "Nobody keeps a record of who opens which page.",
);
pub(super) const FOR_TECHNICIAN: Said =
    said("Техникалық маманға:", "Для технического специалиста:", "For the technician:");
pub(super) const WHOM_TO_ASK: Said = said("Кімге айту керек:", "К кому обратиться:", "Whom to ask:");
pub(super) const ASK_TEACHER: Said = said(
    "мұғалімге немесе мектептің техникалық маманына",
    "к учителю или к техническому специалисту школы",
    "your teacher or the school's technician",
);

pub(super) const REFUSAL_TITLE: Said =
    said("Бұл сайт тізімде жоқ", "Этого сайта нет в списке", "This site is not on the list");
pub(super) const REFUSAL_LEAD: Said = said(
    "Мектептегі «Бұлақ» құрылғысы тізімге енгізілген оқу сайттарын ғана ашады. Мына сайт ол тізімде жоқ:",
    "Школьное устройство «Бұлақ» открывает только учебные сайты из списка. Этого сайта в списке нет:",
    "The school's Bulaq box opens only the learning sites on its list. This site is not among them:",
);
pub(super) const REFUSAL_WHAT: Said = said(
    "Сіз қате ештеңе жасаған жоқсыз. Бұл сайт сабаққа керек болса, оны тізімге қосуды сұраңыз.",
    "Вы ничего не нарушили. Если сайт нужен для урока, попросите добавить его в список.",
    "You have done nothing wrong. If a lesson needs this site, ask for it to be added to the list.",
);

pub(super) const OUTAGE_TITLE: Said =
    said("Сайт қазір ашылмай тұр", "Сайт сейчас не открывается", "The site cannot be reached right now");
pub(super) const OUTAGE_LEAD: Said = said(
    "Құрылғы бұл бетті сайттың өзінен алмақ болды, бірақ ала алмады:",
    "Устройство попыталось получить эту страницу с самого сайта, но не смогло:",
    "The box tried to fetch this page from the site itself, but could not:",
);
pub(super) const OUTAGE_KNOWN: Said = said("Белгілісі", "Что известно", "What is known");
pub(super) const DOWN_SINCE: Said = said(
    "Сайт мына уақыттан бері жауап бермейді:",
    "Сайт не отвечает с этого времени:",
    "The site has not answered since:",
);
pub(super) const TRY_AFTER: Said = said(
    "Қайталап көруге болады, кемінде (секундтан кейін):",
    "Повторите не раньше чем через (секунд):",
    "Try again in at least (seconds):",
);
pub(super) const OUTAGE_WHAT: Said = said(
    "Бетті біраздан кейін қайта ашып көріңіз. Мектепте сақталған басқа сабақтар бұрынғыдай ашылады.",
    "Откройте страницу ещё раз немного позже. Другие уроки, сохранённые в школе, открываются как обычно.",
    "Try the page again a little later. The other lessons that the school has stored open as usual.",
);

/// What is known of the copy.
pub(super) const fn copy(copy: StoredCopy) -> Said {
    match copy {
        StoredCopy::None => said(
            "Бұл беттің мектепте сақталған көшірмесі жоқ.",
            "Сохранённой копии этой страницы в школе нет.",
            "The school has no stored copy of this page.",
        ),
        StoredCopy::MustBeValidated => said(
            "Көшірмесі бар, бірақ сайт оны тексерусіз көрсетуге рұқсат бермейді.",
            "Копия есть, но сайт не разрешает показывать её без проверки.",
            "There is a copy, but the site does not allow it to be shown without a check.",
        ),
        StoredCopy::TooOld => said(
            "Көшірмесі бар, бірақ тым ескі.",
            "Копия есть, но она слишком старая.",
            "There is a copy, but it is too old.",
        ),
    }
}

/// What is known of the fault.
pub(super) const fn trouble(trouble: Trouble) -> Said {
    match trouble {
        Trouble::NoAddress => {
            said("Сайттың мекенжайы табылмады.", "Адрес сайта не найден.", "The site's address was not found.")
        }
        Trouble::NameServerSilent => said(
            "Атаулар сервері (DNS) жауап бермеді.",
            "Сервер имён (DNS) не ответил.",
            "The name server (DNS) did not answer.",
        ),
        Trouble::AddressProhibited => said(
            "Сайттың атауы рұқсат етілмеген мекенжайға апарады.",
            "Имя сайта ведёт на недопустимый адрес.",
            "The site's name leads to an address that is not allowed.",
        ),
        Trouble::Unreachable => said(
            "Сайтпен байланыс орнату мүмкін болмады.",
            "Не удалось соединиться с сайтом.",
            "No connection to the site could be made.",
        ),
        Trouble::NotTrusted => said(
            "Сайт өзінің шынайылығын растай алмады (TLS сертификаты).",
            "Сайт не смог подтвердить свою подлинность (сертификат TLS).",
            "The site could not prove who it is (TLS certificate).",
        ),
        Trouble::NoAnswer => {
            said("Сайт уақытында жауап бермеді.", "Сайт не ответил вовремя.", "The site did not answer in time.")
        }
        Trouble::BrokenAnswer => said(
            "Сайттың жауабы толық емес немесе қате.",
            "Ответ сайта неполный или ошибочный.",
            "The site's answer was incomplete or faulty.",
        ),
        Trouble::Busy => said(
            "Сайтқа артық жүктеме түсірмеу үшін құрылғы күте тұрады.",
            "Чтобы не перегружать сайт, устройство делает паузу.",
            "The box is pausing so as not to overload the site.",
        ),
    }
}

/// Title, lead and advice of the gateway's own pages.
pub(super) const fn gateway(no: GatewayNo) -> (Said, Said, Said) {
    match no {
        GatewayNo::Outside => (
            said("Бұл сілтеме сыртқа апарады", "Эта ссылка ведёт наружу", "This link leads outside"),
            said(
                "Бұл мекенжай арқылы тізімге енгізілген оқу сайттары ғана ашылады. Мына сайт ол тізімде жоқ:",
                "По этому адресу открываются только учебные сайты из списка. Этого сайта в списке нет:",
                "At this address only the learning sites on the school's list open. This site is not among them:",
            ),
            said(
                "Артқа қайтып, сабақты жалғастырыңыз. Бұл сайт сабаққа керек болса, оны тізімге қосуды сұраңыз.",
                "Вернитесь назад и продолжайте урок. Если сайт нужен для урока, попросите добавить его в список.",
                "Go back and carry on with the lesson. If the lesson needs this site, ask for it to be added to the list.",
            ),
        ),
        GatewayNo::Writes => (
            said("Мұнда тек оқуға болады", "Здесь можно только читать", "Here you can only read"),
            said(
                "Бұл мекенжай арқылы ештеңе жіберілмейді: форма, жауап, файл, пікір. Сіз жіберген нәрсе сайтқа жеткен жоқ:",
                "Через этот адрес ничего не отправляется: ни формы, ни ответы, ни файлы. То, что вы отправили, на сайт не попало:",
                "Nothing is sent through this address: no forms, answers or files. What you sent did not reach the site:",
            ),
            said(
                "Тапсырманы жіберу немесе тіркелу үшін сайтты өз мекенжайымен ашыңыз.",
                "Чтобы отправить задание или войти, откройте сайт по его собственному адресу.",
                "To hand something in or to sign in, open the site at its own address.",
            ),
        ),
        GatewayNo::SignIn => (
            said("Бұл бетке кіру керек", "На этой странице нужно войти", "This page asks you to sign in"),
            said(
                "Бұл мекенжай арқылы сайтқа кіру мүмкін емес: мұнда құпиясөздер мен cookie файлдары жіберілмейді. Сайт:",
                "Через этот адрес войти нельзя: пароли и файлы cookie здесь не передаются. Сайт:",
                "You cannot sign in through this address: no passwords and no cookies pass here. The site:",
            ),
            said(
                "Кіру үшін сайтты өз мекенжайымен ашыңыз.",
                "Чтобы войти, откройте сайт по его собственному адресу.",
                "To sign in, open the site at its own address.",
            ),
        ),
        GatewayNo::UnknownName => (
            said("Мұндай мекенжай жоқ", "Такого адреса нет", "There is no such address"),
            said(
                "Бұл атаумен мектепте ешқандай сайт ашылмайды.",
                "Под этим именем в школе не открывается ни один сайт.",
                "No site opens under this name in the school.",
            ),
            said(
                "Мекенжайды тексеріңіз немесе басты беттен бастаңыз.",
                "Проверьте адрес или начните с главной страницы.",
                "Check the address, or begin at the start page.",
            ),
        ),
    }
}

/// Title and advice for the plain pages, by status.
pub(super) fn plain(status: StatusCode) -> (Said, Said) {
    match status {
        StatusCode::NOT_FOUND => (
            said("Мұндай бет жоқ", "Такой страницы нет", "There is no such page"),
            said(
                "Мекенжайды тексеріңіз немесе басты беттен бастаңыз.",
                "Проверьте адрес или начните с главной страницы.",
                "Check the address, or begin at the start page.",
            ),
        ),
        StatusCode::METHOD_NOT_ALLOWED => (
            said(
                "Бұл жерде олай сұрауға болмайды",
                "Здесь такой запрос не принимается",
                "This kind of request is not accepted here",
            ),
            said("Бетті браузермен ашыңыз.", "Откройте страницу в браузере.", "Open the page with a browser."),
        ),
        StatusCode::MISDIRECTED_REQUEST => (
            said("Сұрау басқа мекенжайға келді", "Запрос пришёл не по адресу", "The request came to the wrong address"),
            said(
                "Бетті жаңа терезеде қайта ашыңыз.",
                "Откройте страницу заново в новом окне.",
                "Open the page again in a new window.",
            ),
        ),
        StatusCode::URI_TOO_LONG => (
            said("Мекенжай тым ұзын", "Слишком длинный адрес", "The address is too long"),
            said("Мекенжайды тексеріңіз.", "Проверьте адрес.", "Check the address."),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (
            said("Жіберілген файл тым үлкен", "Отправленный файл слишком велик", "What was sent is too large"),
            said("Кішірек файл жіберіп көріңіз.", "Попробуйте файл поменьше.", "Try a smaller file."),
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (
            said(
                "Сұраудың тақырыптары тым үлкен",
                "Слишком большие заголовки запроса",
                "The request's header fields are too large",
            ),
            said(
                "Браузердегі осы сайттың cookie файлдарын өшіріп көріңіз.",
                "Удалите в браузере файлы cookie этого сайта.",
                "Delete this site's cookies in the browser.",
            ),
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            said("Қазір сұрау тым көп", "Сейчас слишком много запросов", "There are too many requests right now"),
            said(
                "Бірнеше секундтан кейін қайталаңыз.",
                "Повторите через несколько секунд.",
                "Try again in a few seconds.",
            ),
        ),
        status if status.is_server_error() => (
            said("Құрылғыда қате шықты", "На устройстве произошла ошибка", "Something went wrong in the box"),
            said(
                "Бетті қайта ашып көріңіз. Қате қайталанса, техникалық маманға айтыңыз.",
                "Откройте страницу ещё раз. Если ошибка повторится, сообщите техническому специалисту.",
                "Open the page again. If it happens again, tell the technician.",
            ),
        ),
        _ => (
            said("Сұрау түсініксіз", "Непонятный запрос", "The request could not be understood"),
            said(
                "Бетті қайта ашып көріңіз. Қате қайталанса, техникалық маманға айтыңыз.",
                "Откройте страницу ещё раз. Если ошибка повторится, сообщите техническому специалисту.",
                "Open the page again. If it happens again, tell the technician.",
            ),
        ),
    }
}

pub(super) const START_TITLE: Said = said("Сабақтар осында", "Уроки здесь", "Your lessons are here");
pub(super) const START_LEAD: Said = said(
    "Бұл сабақтар мектепте сақтаулы. Олар интернет үзілсе де ашылады.",
    "Эти уроки сохранены в школе. Они открываются, даже если интернета нет.",
    "These lessons are stored in the school. They open even when the Internet is down.",
);
pub(super) const START_EMPTY: Said = said(
    "Әзірге ештеңе сақталмаған. Сабақтар түнде жүктеледі.",
    "Пока ничего не сохранено. Уроки загружаются ночью.",
    "Nothing is stored yet. Lessons are fetched at night.",
);
pub(super) const OTHER_PAGES: Said = said("Басқа беттер", "Другие страницы", "Other pages");
pub(super) const MORE_PAGES: Said = said(
    "Тізімге сыймаған тағы беттер саны:",
    "Ещё страниц, не вошедших в список:",
    "More pages than fit in this list:",
);

/// What the mark on the start page means where it shows.
pub(super) const TRUSTS: Said = said(
    "Бұл құрылғы аудан сертификатына сенеді: https сабақтары қораптан келеді.",
    "Это устройство доверяет сертификату района: уроки по https приходят из коробки.",
    "This device trusts the district's certificate: lessons over https come from the box.",
);
/// And where it does not.
pub(super) const PASSES_THROUGH: Said = said(
    "Бұл құрылғы үшін https сабақтары қораптан өзгеріссіз өтеді. Бұл қалыпты жағдай.",
    "Для этого устройства уроки по https проходят через коробку без изменений. Это нормально.",
    "For this device, lessons over https pass through the box unchanged. That is all right.",
);
pub(super) const CHECK_DEVICE: Said = said("Құрылғыны тексеру", "Проверить устройство", "Check this device");
